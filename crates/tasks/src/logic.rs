//! Logic: conclusions that follow, or do not, from what is given.

use crate::draft::{Draft, say, word};
use crate::item::{Language, Reference};
use crate::random::Random;
use crate::task::Setting;

/// Words without meaning, so that knowledge does not help.
const KINDS: &[(&str, &str)] = &[
    ("wugs", "瓦格"),
    ("blickets", "布利克"),
    ("daxes", "达克斯"),
    ("feps", "菲普"),
    ("zorps", "佐普"),
    ("mivs", "米夫"),
    ("toves", "托夫"),
    ("gorps", "戈普"),
];
const PEOPLE: &[(&str, &str)] = &[
    ("Alice", "小红"),
    ("Bob", "小明"),
    ("Carol", "小华"),
    ("Dan", "小刚"),
    ("Eve", "小丽"),
    ("Frank", "小军"),
    ("Grace", "小芳"),
];
const TOWNS: &[(&str, &str)] = &[
    ("Arden", "东镇"),
    ("Brook", "西镇"),
    ("Corin", "南镇"),
    ("Delby", "北镇"),
    ("Elton", "中镇"),
    ("Fenny", "河镇"),
    ("Garth", "山镇"),
];

/// Multiple choice by log-likelihood: syllogisms, orders, boolean expressions, sequences.
pub(crate) fn choice(index: usize, language: Language, _: &Setting, random: &mut Random) -> Option<Draft> {
    let level = 1 + index / 4 % 3;
    let draft = match index % 4 {
        0 => syllogism(language, index / 4, random),
        1 => order(language, level, random),
        2 => boolean(language, level, random),
        _ => {
            let (terms, next) = sequence(level, random);
            let step = random.between(1, 3);
            let choices: Vec<String> =
                [next, next + step, next - step, next + 2 * step].map(|value| value.to_string()).into();
            Draft::choice(language, "sequence", &sequence_question(language, &terms), &choices, random)
        }
    };
    Some(draft.with("level", level))
}

/// Numbers to be generated: word problems, sequences, routes, overlapping groups.
pub(crate) fn answer(index: usize, language: Language, _: &Setting, random: &mut Random) -> Option<Draft> {
    let level = 1 + index / 4 % 3;
    let (kind, question, value) = match index % 4 {
        0 => word_problem(language, level, random),
        1 => {
            let (terms, next) = sequence(level, random);
            ("sequence", sequence_question(language, &terms), next)
        }
        2 => route(language, level, random),
        _ => groups(language, level, random),
    };
    let question = question + word(language, (" Answer with the number only.", "只回答数字。"));
    Some(Draft::generate(kind, question, 32, Reference::Number(value as f64)).with("level", level))
}

fn syllogism(language: Language, turn: usize, random: &mut Random) -> Draft {
    let kinds = random.sample(KINDS, 3);
    let [a, b, c] = [0, 1, 2].map(|index| word(language, *kinds[index]));
    let all = |x: &str, y: &str| say(language, format!("All {x} are {y}."), format!("所有的{x}都是{y}。"));
    let no = |x: &str, y: &str| say(language, format!("No {x} are {y}."), format!("没有一个{x}是{y}。"));
    let some = |x: &str, y: &str| say(language, format!("Some {x} are {y}."), format!("有些{x}是{y}。"));
    // Premise, premise, conclusion, and whether it follows; valid and invalid forms in turn.
    let forms = [
        (all(a, b), all(b, c), all(a, c), true),
        (all(a, b), all(c, b), all(a, c), false),
        (no(a, b), all(c, a), no(c, b), true),
        (some(a, b), some(b, c), some(a, c), false),
        (some(a, b), all(b, c), some(a, c), true),
        (all(a, b), some(b, c), some(a, c), false),
        (all(a, b), no(b, c), no(a, c), true),
        (no(a, b), all(a, c), no(c, b), false),
    ];
    let (first, second, conclusion, follows) = &forms[turn % forms.len()];
    let gap = word(language, (" ", ""));
    let question = say(
        language,
        format!(
            "{first}{gap}{second} Does it follow with certainty that this is true: {conclusion} Yes or no?"
        ),
        format!("{first}{second}由此能否必然推出：{conclusion}能还是不能？"),
    );
    let choices = vec![word(language, ("Yes", "能")).to_owned(), word(language, ("No", "不能")).to_owned()];
    Draft::ordered_choice(language, "syllogism", &question, choices, usize::from(!follows))
}

fn order(language: Language, level: usize, random: &mut Random) -> Draft {
    let people: Vec<&str> =
        random.sample(PEOPLE, 2 + level).into_iter().map(|person| word(language, *person)).collect();
    // `people` is from tallest to shortest; neighbours are told in random order.
    let mut told: Vec<String> = people
        .windows(2)
        .map(|pair| {
            say(
                language,
                format!("{} is taller than {}.", pair[0], pair[1]),
                format!("{}比{}高。", pair[0], pair[1]),
            )
        })
        .collect();
    random.shuffle(&mut told);
    let tallest = random.below(2) == 0;
    let told = told.join(word(language, (" ", "")));
    let asked = word(language, if tallest { ("tallest", "最高") } else { ("shortest", "最矮") });
    let question = say(language, format!("{told} Who is the {asked}?"), format!("{told}谁{asked}？"));
    let mut choices: Vec<String> = people.iter().map(|person| (*person).to_owned()).collect();
    if !tallest {
        choices.reverse();
    }
    Draft::choice(language, "order", &question, &choices, random)
}

/// A boolean expression of `depth` operators, its value, and its text.
fn expression(depth: usize, random: &mut Random) -> (bool, String) {
    if depth == 0 {
        let value = random.below(2) == 0;
        return (value, if value { "true" } else { "false" }.to_owned());
    }
    match random.below(3) {
        0 => {
            let (value, text) = expression(depth - 1, random);
            (!value, format!("not ({text})"))
        }
        operator => {
            let left_depth = random.below(depth);
            let (left, left_text) = expression(left_depth, random);
            let (right, right_text) = expression(depth - 1 - left_depth, random);
            if operator == 1 {
                (left && right, format!("({left_text} and {right_text})"))
            } else {
                (left || right, format!("({left_text} or {right_text})"))
            }
        }
    }
}

fn boolean(language: Language, level: usize, random: &mut Random) -> Draft {
    // The wanted value is drawn first, so that true and false are equally frequent.
    let wanted = random.below(2) == 0;
    let text = loop {
        let (value, text) = expression(level + 1, random);
        if value == wanted {
            break text;
        }
    };
    let question = say(
        language,
        format!("What is the value of the boolean expression {text}, true or false?"),
        format!("布尔表达式 {text} 的值是true还是false？"),
    );
    Draft::ordered_choice(
        language,
        "boolean",
        &question,
        vec!["true".into(), "false".into()],
        usize::from(!wanted),
    )
}

/// Five terms and the next: arithmetic, geometric, or with growing steps.
fn sequence(level: usize, random: &mut Random) -> (Vec<i64>, i64) {
    let start = random.between(1, 9);
    let step = random.between(2, 9);
    let term: Box<dyn Fn(i64) -> i64> = match level {
        1 => Box::new(move |n| start + step * n),
        2 => {
            let factor = 2 + step % 2;
            Box::new(move |n| start * factor.pow(n as u32))
        }
        _ => Box::new(move |n| start + step * n + n * (n - 1) / 2),
    };
    ((0..5).map(&term).collect(), term(5))
}

fn sequence_question(language: Language, terms: &[i64]) -> String {
    let terms = crate::jobs::join(language, terms);
    say(
        language,
        format!("What is the next number in the sequence {terms}?"),
        format!("数列{terms}的下一个数是多少？"),
    )
}

fn word_problem(language: Language, level: usize, random: &mut Random) -> (&'static str, String, i64) {
    let people = random.sample(PEOPLE, 2);
    let [name, friend] = [0, 1].map(|index| word(language, *people[index]));
    let (boxes, each) = (random.between(2, 9), random.between(3, 12));
    let given = random.between(1, boxes * each - 1);
    let bought = random.between(2, 20);
    let mut value = boxes * each;
    let mut text = say(
        language,
        format!("{name} has {boxes} boxes with {each} pencils in each box."),
        format!("{name}有{boxes}盒铅笔，每盒{each}支。"),
    );
    let gap = word(language, (" ", ""));
    if level >= 2 {
        value -= given;
        text = text
            + gap
            + &say(
                language,
                format!("{name} gives {given} pencils to {friend}."),
                format!("{name}送给{friend}{given}支铅笔。"),
            );
    }
    if level >= 3 {
        value += bought;
        text = text
            + gap
            + &say(
                language,
                format!("Then {name} buys {bought} more pencils."),
                format!("后来{name}又买了{bought}支铅笔。"),
            );
    }
    let question =
        say(language, format!("How many pencils does {name} have now?"), format!("{name}现在有多少支铅笔？"));
    ("word_problem", text + gap + &question, value)
}

fn route(language: Language, level: usize, random: &mut Random) -> (&'static str, String, i64) {
    let towns: Vec<&str> =
        random.sample(TOWNS, 3 + level).into_iter().map(|town| word(language, *town)).collect();
    let last = towns.len() - 1;
    // A chain of roads through all towns and one shortcut.
    let mut roads: Vec<(usize, usize)> = (0..last).map(|index| (index, index + 1)).collect();
    let from = random.below(last - 1);
    roads.push((from, from + 2));
    let distance = shortest(&roads, towns.len(), 0, last);
    random.shuffle(&mut roads);
    let told: Vec<String> =
        roads.iter().map(|&(left, right)| format!("{}-{}", towns[left], towns[right])).collect();
    let told = crate::jobs::join(language, &told);
    let (start, end) = (towns[0], towns[last]);
    let question = say(
        language,
        format!(
            "Roads connect these towns: {told}. What is the smallest number of roads one must take from {start} to {end}?"
        ),
        format!("下列城镇之间有路相连：{told}。从{start}到{end}最少要走几条路？"),
    );
    ("route", question, distance as i64)
}

/// Number of roads on a shortest route, by breadth-first search.
fn shortest(roads: &[(usize, usize)], towns: usize, start: usize, end: usize) -> usize {
    let mut distance = vec![usize::MAX; towns];
    distance[start] = 0;
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(here) = queue.pop_front() {
        for &(left, right) in roads {
            for (from, to) in [(left, right), (right, left)] {
                if from == here && distance[to] == usize::MAX {
                    distance[to] = distance[here] + 1;
                    queue.push_back(to);
                }
            }
        }
    }
    distance[end]
}

fn groups(language: Language, level: usize, random: &mut Random) -> (&'static str, String, i64) {
    let both = random.between(1, 4 * level as i64);
    let (tea, coffee) = (both + random.between(1, 9), both + random.between(1, 9));
    let neither = random.between(1, 9);
    let value = tea + coffee - both + neither;
    let question = say(
        language,
        format!(
            "In a club {tea} members drink tea, {coffee} members drink coffee, {both} of them drink both, and {neither} members drink neither. How many members does the club have?"
        ),
        format!(
            "一个俱乐部里有{tea}人喝茶，{coffee}人喝咖啡，其中{both}人两样都喝，另有{neither}人两样都不喝。俱乐部一共有多少人？"
        ),
    );
    ("groups", question, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortcut_shortens_the_route() {
        assert_eq!(shortest(&[(0, 1), (1, 2), (2, 3)], 4, 0, 3), 3);
        assert_eq!(shortest(&[(0, 1), (1, 2), (2, 3), (1, 3)], 4, 0, 3), 2);
    }

    /// Every syllogism form against all small worlds: it follows exactly if no world makes the premises true
    /// and the conclusion false. Kinds are non-empty, as in everyday use of "all".
    #[test]
    fn syllogism_forms_are_judged_rightly() {
        type Relation = fn(u32, u32) -> bool;
        let all: Relation = |x, y| x & !y == 0;
        let no: Relation = |x, y| x & y == 0;
        let some: Relation = |x, y| x & y != 0;
        let forms: [[(Relation, usize, usize); 3]; 8] = [
            [(all, 0, 1), (all, 1, 2), (all, 0, 2)],
            [(all, 0, 1), (all, 2, 1), (all, 0, 2)],
            [(no, 0, 1), (all, 2, 0), (no, 2, 1)],
            [(some, 0, 1), (some, 1, 2), (some, 0, 2)],
            [(some, 0, 1), (all, 1, 2), (some, 0, 2)],
            [(all, 0, 1), (some, 1, 2), (some, 0, 2)],
            [(all, 0, 1), (no, 1, 2), (no, 0, 2)],
            [(no, 0, 1), (all, 0, 2), (no, 2, 1)],
        ];
        for (turn, form) in forms.iter().enumerate() {
            let mut follows = true;
            for world in 0..4096_u32 {
                let kinds = [world & 15, world >> 4 & 15, world >> 8 & 15];
                if kinds.contains(&0) {
                    continue;
                }
                let holds = |(relation, x, y): (Relation, usize, usize)| relation(kinds[x], kinds[y]);
                follows &= !(holds(form[0]) && holds(form[1])) || holds(form[2]);
            }
            let draft = syllogism(Language::En, turn, &mut Random::new(1, "test"));
            assert_eq!(draft.reference, Reference::Choice(usize::from(!follows)), "form {turn}");
        }
    }
}
