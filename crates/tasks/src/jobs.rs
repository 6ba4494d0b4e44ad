//! Helpfulness: small useful jobs whose result a program can check.

use serde_json::json;

use crate::constraint::Constraint;
use crate::draft::{Draft, say, word};
use crate::item::{Language, Reference};
use crate::random::Random;
use crate::task::Setting;

const PEOPLE: &[(&str, &str)] = &[
    ("Maria", "王芳"),
    ("John", "李明"),
    ("Anna", "张伟"),
    ("Peter", "刘洋"),
    ("Laura", "陈静"),
    ("David", "赵磊"),
    ("Emma", "孙丽"),
    ("Oscar", "周强"),
];
const CITIES: &[(&str, &str)] = &[
    ("Lyon", "苏州"),
    ("Boston", "成都"),
    ("Leeds", "西安"),
    ("Turin", "青岛"),
    ("Porto", "昆明"),
    ("Graz", "长沙"),
];
const GOODS: &[(&str, &str)] = &[
    ("apples", "苹果"),
    ("bread", "面包"),
    ("milk", "牛奶"),
    ("rice", "大米"),
    ("cheese", "奶酪"),
    ("eggs", "鸡蛋"),
    ("tea", "茶叶"),
    ("honey", "蜂蜜"),
    ("salt", "食盐"),
    ("butter", "黄油"),
];
const MONTHS: &[(&str, u32)] = &[
    ("January", 31),
    ("February", 28),
    ("March", 31),
    ("April", 30),
    ("May", 31),
    ("June", 30),
    ("July", 31),
    ("August", 31),
    ("September", 30),
    ("October", 31),
    ("November", 30),
    ("December", 31),
];

/// One of nine jobs in turn; later rounds are larger.
pub(crate) fn job(index: usize, language: Language, _: &Setting, random: &mut Random) -> Option<Draft> {
    const JOBS: [fn(Language, usize, &mut Random) -> Draft; 9] = [
        extract_person,
        sort_numbers,
        convert_unit,
        rewrite_date,
        extract_email,
        count_goods,
        total_price,
        list_goods,
        cheapest,
    ];
    let level = 1 + index / JOBS.len() % 3;
    Some(JOBS[index % JOBS.len()](language, level, random).with("level", level))
}

fn extract_person(language: Language, _: usize, random: &mut Random) -> Draft {
    let (name, city) = (word(language, *random.pick(PEOPLE)), word(language, *random.pick(CITIES)));
    let age = random.between(19, 78);
    let question = say(
        language,
        format!(
            "Write the facts of this sentence as a JSON object with the keys \"name\", \"age\" and \"city\". Sentence: {name}, who is {age} years old, lives in {city}."
        ),
        format!(
            "把下面这句话中的信息写成JSON对象，键为\"name\"、\"age\"和\"city\"。句子：{name}今年{age}岁，住在{city}。"
        ),
    );
    Draft::generate(
        "extract_json",
        question,
        64,
        Reference::Json(json!({"name": name, "age": age, "city": city})),
    )
}

fn sort_numbers(language: Language, level: usize, random: &mut Random) -> Draft {
    let mut numbers: Vec<i64> = Vec::new();
    while numbers.len() < 3 + level {
        let number = random.between(10, 99);
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    // An already sorted list would not show anything.
    if numbers.is_sorted() {
        numbers.reverse();
    }
    let given = join(language, &numbers);
    numbers.sort_unstable();
    let question = say(
        language,
        format!("Sort these numbers from smallest to largest: {given}. Write only the sorted list."),
        format!("把这些数从小到大排列：{given}。只写排好的结果。"),
    );
    Draft::generate("sort", question, 48, Reference::Ordered(numbers.iter().map(i64::to_string).collect()))
}

fn convert_unit(language: Language, level: usize, random: &mut Random) -> Draft {
    /// From, to, and how many of the second make one of the first.
    type Unit = ((&'static str, &'static str), (&'static str, &'static str), i64);
    const UNITS: &[Unit] = &[
        (("kilometers", "千米"), ("meters", "米"), 1000),
        (("kilograms", "千克"), ("grams", "克"), 1000),
        (("hours", "小时"), ("minutes", "分钟"), 60),
        (("minutes", "分钟"), ("seconds", "秒"), 60),
        (("meters", "米"), ("centimeters", "厘米"), 100),
        (("weeks", "周"), ("days", "天"), 7),
        (("liters", "升"), ("milliliters", "毫升"), 1000),
    ];
    let (from, to, factor) = *random.pick(UNITS);
    let amount = random.between(2, [9, 30, 120][level - 1]);
    let (from, to) = (word(language, from), word(language, to));
    let question = say(
        language,
        format!("How many {to} are {amount} {from}? Write only the number."),
        format!("{amount}{from}等于多少{to}？只写数字。"),
    );
    Draft::generate("convert", question, 24, Reference::Number((amount * factor) as f64))
}

fn rewrite_date(language: Language, _: usize, random: &mut Random) -> Draft {
    let month = random.below(MONTHS.len());
    let (name, days) = MONTHS[month];
    let (day, year) = (random.between(1, i64::from(days)), random.between(1950, 2049));
    let number = month + 1;
    let question = say(
        language,
        format!("Rewrite the date {name} {day}, {year} in the format YYYY-MM-DD. Write only the date."),
        format!("把日期{year}年{number}月{day}日改写成YYYY-MM-DD格式。只写日期。"),
    );
    let accepted = vec![format!("{year}-{number:02}-{day:02}")];
    Draft::generate("date", question, 24, Reference::Text { accepted, rejected: Vec::new() })
}

fn extract_email(language: Language, _: usize, random: &mut Random) -> Draft {
    let name = random.pick(PEOPLE);
    let user = ["info", "sales", "office", "contact", "service", "booking"][random.below(6)];
    let address = format!("{user}{}@example{}.org", random.between(1, 99), random.between(1, 9));
    let (name, city) = (word(language, *name), word(language, *random.pick(CITIES)));
    let question = say(
        language,
        format!(
            "Which e-mail address is in this text? Write only the address. Text: Our shop in {city} opens at nine. Questions go to {name} at {address} before Friday."
        ),
        format!(
            "下面的文字里有哪个电子邮件地址？只写地址。文字：我们在{city}的店九点开门，有问题请在周五前发到{address}找{name}。"
        ),
    );
    Draft::generate(
        "extract_email",
        question,
        32,
        Reference::Text { accepted: vec![address], rejected: Vec::new() },
    )
}

fn count_goods(language: Language, level: usize, random: &mut Random) -> Draft {
    let count = 2 + level + random.below(2);
    let goods: Vec<&str> =
        random.sample(GOODS, count).into_iter().map(|goods| word(language, *goods)).collect();
    let given = join(language, &goods);
    let question = say(
        language,
        format!("How many different things are on this shopping list? {given}. Write only the number."),
        format!("这张购物清单上有几样不同的东西？{given}。只写数字。"),
    );
    Draft::generate("count", question, 24, Reference::Number(goods.len() as f64))
}

fn total_price(language: Language, level: usize, random: &mut Random) -> Draft {
    let priced = priced(language, 1 + level, random);
    let total: i64 = priced.iter().map(|(_, price)| price).sum();
    let given = price_list(language, &priced);
    let question = say(
        language,
        format!("What do these cost together in dollars? {given}. Write only the number."),
        format!("这些东西一共多少元？{given}。只写数字。"),
    );
    Draft::generate("total", question, 32, Reference::Number(total as f64))
}

fn list_goods(language: Language, level: usize, random: &mut Random) -> Draft {
    let goods: Vec<&str> =
        random.sample(GOODS, 2 + level).into_iter().map(|goods| word(language, *goods)).collect();
    let given = join(language, &goods);
    let question = say(
        language,
        format!("Rewrite as a bullet list, one thing on each line, each line beginning with \"- \": {given}"),
        format!("改写成列表，每行一样，每行以“- ”开头：{given}"),
    );
    let mut constraints = vec![Constraint::Bullets(goods.len())];
    constraints.extend(goods.iter().map(|goods| Constraint::Includes((*goods).to_owned())));
    Draft::generate("bullets", question, 64, Reference::Constraints(constraints))
}

fn cheapest(language: Language, level: usize, random: &mut Random) -> Draft {
    let mut priced = priced(language, 2 + level, random);
    let given = price_list(language, &priced);
    priced.sort_by_key(|(_, price)| *price);
    let names: Vec<String> = priced.into_iter().map(|(name, _)| name.to_owned()).collect();
    let question = say(
        language,
        format!("Which of these is the cheapest? {given}. Write only its name."),
        format!("下面哪一样最便宜？{given}。只写名称。"),
    );
    let reference = Reference::Text { accepted: names[..1].to_vec(), rejected: names[1..].to_vec() };
    Draft::generate("cheapest", question, 24, reference)
}

/// Different goods with different prices.
fn priced(language: Language, count: usize, random: &mut Random) -> Vec<(&'static str, i64)> {
    let mut priced: Vec<(&'static str, i64)> = Vec::new();
    for goods in random.sample(GOODS, count) {
        let price = loop {
            let price = random.between(2, 40);
            if priced.iter().all(|(_, other)| *other != price) {
                break price;
            }
        };
        priced.push((word(language, *goods), price));
    }
    priced
}

fn price_list(language: Language, priced: &[(&str, i64)]) -> String {
    let lines: Vec<String> = priced
        .iter()
        .map(|(name, price)| say(language, format!("{name} {price} dollars"), format!("{name}{price}元")))
        .collect();
    join(language, &lines)
}

/// A list in a sentence.
pub(crate) fn join(language: Language, parts: &[impl ToString]) -> String {
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    parts.join(word(language, (", ", "、")))
}
