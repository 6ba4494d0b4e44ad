//! Long documents: needles, chains of variables and counting, at a controlled number of tokens.

use crate::draft::{Draft, say, word};
use crate::item::{Language, Reference};
use crate::random::Random;
use crate::task::Setting;

/// Prompt lengths in tokens of the model that is asked.
const LENGTHS: [usize; 3] = [512, 1024, 2048];

const WHO: &[(&str, &str)] = &[
    ("The gardener", "园丁"),
    ("An old sailor", "老水手"),
    ("The baker", "面包师"),
    ("A young teacher", "年轻的老师"),
    ("The librarian", "图书管理员"),
    ("My cousin", "表弟"),
    ("The postman", "邮递员"),
    ("A tired farmer", "疲惫的农夫"),
];
const DOES: &[(&str, &str)] = &[
    ("walked slowly past", "慢慢走过"),
    ("looked for a while at", "看了一会儿"),
    ("told a story about", "讲起了"),
    ("drew a picture of", "画下了"),
    ("thought again of", "又想起了"),
    ("asked everyone about", "向大家打听"),
    ("wrote a letter about", "写信谈到"),
];
const WHAT: &[(&str, &str)] = &[
    ("the wooden bridge", "那座木桥"),
    ("the quiet harbor", "安静的港口"),
    ("the yellow house", "黄色的房子"),
    ("the empty market", "空荡荡的集市"),
    ("the long road north", "通往北方的长路"),
    ("the broken clock", "坏了的钟"),
    ("the apple trees", "那些苹果树"),
    ("the stone wall", "石墙"),
];
const WHEN: &[(&str, &str)] = &[
    ("before breakfast", "早饭前"),
    ("in the evening", "傍晚"),
    ("while it rained", "下雨的时候"),
    ("after the meeting", "会后"),
    ("on the way home", "回家的路上"),
    ("without any hurry", "不慌不忙地"),
];
const KEYS: &[(&str, &str)] = &[
    ("silver lantern", "银灯笼"),
    ("green compass", "绿罗盘"),
    ("paper dragon", "纸龙"),
    ("copper bell", "铜铃"),
    ("glass flute", "玻璃笛"),
    ("velvet drum", "绒面鼓"),
    ("ivory spoon", "牙白勺"),
    ("crystal boat", "水晶船"),
];
const FRUITS: &[(&str, &str)] =
    &[("plums", "李子"), ("pears", "梨"), ("cherries", "樱桃"), ("lemons", "柠檬"), ("peaches", "桃子")];

/// Finding a number: alone, among numbers of other keys, or several numbers of one key.
pub(crate) fn needle(
    index: usize,
    language: Language,
    setting: &Setting,
    random: &mut Random,
) -> Option<Draft> {
    let length = length(index, setting)?;
    let kind = ["needle_single", "needle_keys", "needle_values"][index % 3];
    let keys: Vec<&str> = random.sample(KEYS, 4).into_iter().map(|key| word(language, *key)).collect();
    let values: Vec<String> = random
        .sample(&(0..4).collect::<Vec<usize>>(), 4)
        .into_iter()
        // The leading digit differs, so the values do.
        .map(|&digit| format!("{}{:06}", digit * 2 + 1, random_digits(&keys, digit)))
        .collect();
    let asked = keys[0];
    // (key, value) of each needle; the first is asked for.
    let (needles, reference) = match kind {
        "needle_single" => (vec![(asked, &values[0])], one_of(&values[..1], &[])),
        "needle_keys" => (keys.iter().copied().zip(&values).collect(), one_of(&values[..1], &values[1..])),
        _ => (
            vec![(asked, &values[0]), (asked, &values[1]), (keys[1], &values[2])],
            Reference::All(values[..2].to_vec()),
        ),
    };
    let needles: Vec<String> = needles
        .into_iter()
        .map(|(key, value)| {
            say(
                language,
                format!("The secret number of the {key} is {value}."),
                format!("{key}的秘密号码是{value}。"),
            )
        })
        .collect();
    let head = say(
        language,
        "Secret numbers are hidden in the following text. Remember them.".to_owned(),
        "下面的文字里藏着秘密号码，请记住它们。".to_owned(),
    );
    let tail = if kind == "needle_values" {
        say(
            language,
            format!("What are the two secret numbers of the {asked}? Answer with the numbers only."),
            format!("{asked}的两个秘密号码分别是多少？只回答号码。"),
        )
    } else {
        say(
            language,
            format!("What is the secret number of the {asked}? Answer with the number only."),
            format!("{asked}的秘密号码是多少？只回答号码。"),
        )
    };
    let prompt = fill(language, length, &head, &needles, &tail, setting, random)?;
    Some(Draft::generate(kind, prompt, 32, reference).with("length", length))
}

/// Six digits that follow from the keys drawn and a number.
fn random_digits(keys: &[&str], number: usize) -> usize {
    Random::new(number as u64, &keys.join("/")).below(1_000_000)
}

fn one_of(accepted: &[String], rejected: &[String]) -> Reference {
    Reference::Text { accepted: accepted.to_vec(), rejected: rejected.to_vec() }
}

/// Following a chain of variables, or finding what is named most often.
pub(crate) fn tracking(
    index: usize,
    language: Language,
    setting: &Setting,
    random: &mut Random,
) -> Option<Draft> {
    let length = length(index, setting)?;
    if index.is_multiple_of(3) {
        most_frequent(length, language, setting, random)
    } else {
        chain(length, index % 3, language, setting, random)
    }
}

fn chain(
    length: usize,
    hops: usize,
    language: Language,
    setting: &Setting,
    random: &mut Random,
) -> Option<Draft> {
    let mut names: Vec<String> = Vec::new();
    while names.len() < 2 * (hops + 1) {
        let name: String = (0..4).map(|_| (b'A' + random.below(26) as u8) as char).collect();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let (value, other) = (random.between(10_000, 49_999), random.between(50_000, 99_999));
    let (wanted, rest) = names.split_at(hops + 1);
    let assign = |chain: &[String], value: i64| -> Vec<String> {
        let first = say(
            language,
            format!("The variable {} is set to {value}.", chain[0]),
            format!("变量{}的值设为{value}。", chain[0]),
        );
        let next = chain.windows(2).map(|pair| {
            say(
                language,
                format!("The variable {} is set to the value of {}.", pair[1], pair[0]),
                format!("变量{}设为变量{}的值。", pair[1], pair[0]),
            )
        });
        std::iter::once(first).chain(next).collect()
    };
    // The two chains alternate; each keeps its own order.
    let statements: Vec<String> = assign(wanted, value)
        .into_iter()
        .zip(assign(rest, other))
        .flat_map(|(left, right)| [left, right])
        .collect();
    let head = say(
        language,
        "Variables are set in the following text. Remember their values.".to_owned(),
        "下面的文字里有变量赋值，请记住它们的值。".to_owned(),
    );
    let last = &wanted[hops];
    let tail = say(
        language,
        format!("What is the value of the variable {last}? Answer with the number only."),
        format!("变量{last}的值是多少？只回答数字。"),
    );
    let prompt = fill(language, length, &head, &statements, &tail, setting, random)?;
    let reference = one_of(&[value.to_string()], &[other.to_string()]);
    Some(Draft::generate("chain", prompt, 24, reference).with("length", length).with("hops", hops))
}

fn most_frequent(length: usize, language: Language, setting: &Setting, random: &mut Random) -> Option<Draft> {
    let fruits: Vec<&str> =
        random.sample(FRUITS, 3).into_iter().map(|fruit| word(language, *fruit)).collect();
    let mut sales: Vec<String> = Vec::new();
    for (fruit, times) in fruits.iter().zip([6, 3, 2]) {
        let sale = say(language, format!("Today the shop sold {fruit}."), format!("今天店里卖出了{fruit}。"));
        sales.extend(std::iter::repeat_n(sale, times));
    }
    random.shuffle(&mut sales);
    let head = say(
        language,
        "The following text mentions what a shop sold on different days.".to_owned(),
        "下面的文字提到一家店在不同日子卖出的东西。".to_owned(),
    );
    let tail = say(
        language,
        "Which fruit did the shop sell most often? Answer with one word only.".to_owned(),
        "这家店卖出次数最多的是哪种水果？只回答名称。".to_owned(),
    );
    let prompt = fill(language, length, &head, &sales, &tail, setting, random)?;
    let names: Vec<String> = fruits.iter().map(|fruit| (*fruit).to_owned()).collect();
    let mut draft = Draft::generate("most_frequent", prompt, 24, one_of(&names[..1], &names[1..]));
    draft.chance = Some(1.0 / 3.0);
    Some(draft.with("length", length))
}

/// The length of an item; kinds (index mod 3) and lengths go round so that any few neighbours cover both.
fn length(index: usize, setting: &Setting) -> Option<usize> {
    let length = LENGTHS[(index + index / 3) % LENGTHS.len()];
    (length <= setting.max_tokens).then_some(length)
}

/// Head, filler with the needles in order at random places, tail: at most `length` tokens and nearly that many.
fn fill(
    language: Language,
    length: usize,
    head: &str,
    needles: &[String],
    tail: &str,
    setting: &Setting,
    random: &mut Random,
) -> Option<String> {
    let filler: Vec<String> = (0..length).map(|_| sentence(language, random)).collect();
    let mut depths: Vec<usize> = needles.iter().map(|_| random.below(1000)).collect();
    depths.sort_unstable();
    let prompt = |sentences: usize| {
        let mut parts: Vec<&str> = Vec::with_capacity(sentences + needles.len());
        let mut next = 0;
        for (place, sentence) in filler[..sentences].iter().enumerate() {
            while next < needles.len() && depths[next] * sentences <= place * 1000 {
                parts.push(&needles[next]);
                next += 1;
            }
            parts.push(sentence);
        }
        parts.extend(needles[next..].iter().map(String::as_str));
        format!("{head}\n\n{}\n\n{tail}", parts.join(word(language, (" ", ""))))
    };
    let tokens = |sentences: usize| (setting.count_tokens)(&prompt(sentences));
    // A first guess from the cost of sixteen sentences, then a few steps towards the length.
    let (empty, some) = (tokens(0), tokens(16));
    let rate = some.saturating_sub(empty).max(1) as f64 / 16.0;
    let mut sentences = ((length.saturating_sub(empty)) as f64 / rate) as usize;
    for _ in 0..8 {
        sentences = sentences.min(filler.len());
        let found = tokens(sentences);
        if found <= length && (found * 20 >= length * 19 || sentences == filler.len()) {
            return Some(prompt(sentences));
        }
        let change = ((length as f64 * 0.98 - found as f64) / rate).round() as i64;
        // At least one sentence in the right direction.
        let change = if change == 0 { if found > length { -1 } else { 1 } } else { change };
        sentences = sentences.saturating_add_signed(change as isize);
    }
    None
}

fn sentence(language: Language, random: &mut Random) -> String {
    let [who, does, what, when] = [WHO, DOES, WHAT, WHEN].map(|words| word(language, *random.pick(words)));
    say(language, format!("{who} {does} {what} {when}."), format!("{who}{when}{does}{what}。"))
}
