//! Instruction following: demands on the form of a text, verified by [`crate::Constraint`].

use crate::constraint::Constraint;
use crate::draft::{Draft, say, word};
use crate::item::{Language, Reference};
use crate::random::Random;
use crate::task::Setting;

/// What to write about; each is a request that the demand follows.
const SUBJECTS: &[(&str, &str)] = &[
    ("Describe a morning in the forest.", "描写森林里的一个早晨。"),
    ("Explain why people sleep.", "解释人为什么要睡觉。"),
    ("Give advice for a first day at work.", "给第一天上班的人一些建议。"),
    ("Describe a good breakfast.", "描述一顿好早餐。"),
    ("Explain what a library is for.", "说明图书馆有什么用处。"),
    ("Tell a short story about a lost key.", "讲一个关于丢失的钥匙的小故事。"),
    ("Explain how rain forms.", "解释雨是怎样形成的。"),
    ("Recommend a hobby for winter evenings.", "推荐一个适合冬夜的爱好。"),
    ("Describe your favorite season.", "描述你最喜欢的季节。"),
    ("Explain why exercise is healthy.", "解释运动为什么有益健康。"),
    ("Describe a busy street market.", "描写一个热闹的集市。"),
    ("Explain how to plant a tree.", "说明怎样种一棵树。"),
];

const KEYWORDS: &[(&str, &str)] = &[
    ("water", "水"),
    ("light", "光"),
    ("friend", "朋友"),
    ("time", "时间"),
    ("home", "家"),
    ("music", "音乐"),
];

/// A demand in words and as a constraint.
type Demand = (&'static str, String, Constraint);

/// One demand at the first level, two compatible ones at the second.
pub(crate) fn instruction(
    index: usize,
    language: Language,
    _: &Setting,
    random: &mut Random,
) -> Option<Draft> {
    let shapes = SHAPES.len();
    let subject = word(language, *random.pick(SUBJECTS));
    let first = SHAPES[index % shapes](language, random);
    let level = 1 + index / shapes % 2;
    let mut demands = vec![first];
    if level == 2 && !ALONE.contains(&demands[0].0) {
        let second = keyword(language, random);
        // A keyword twice, or one longer than the whole text may be, asks for nothing more.
        if second.0 != demands[0].0 {
            demands.push(second);
        }
    }
    let subject = if demands[0].0 == "one_of" {
        word(language, ("Is winter colder than summer in Norway?", "在挪威，冬天比夏天冷吗？"))
    } else {
        subject
    };
    let gap = word(language, (" ", ""));
    let mut text = subject.to_owned();
    for (_, demand, _) in &demands {
        text = text + gap + demand;
    }
    let kind = demands[0].0;
    let constraints = demands.into_iter().map(|(_, _, constraint)| constraint).collect();
    Some(Draft::generate(kind, text, 64, Reference::Constraints(constraints)).with("level", level))
}

/// Demands that leave no room for a second.
const ALONE: &[&str] = &["one_of", "json", "words_at_most", "excludes", "lower_case"];

const SHAPES: &[fn(Language, &mut Random) -> Demand] = &[
    |language, random| {
        let count = 4 + random.below(5) * 4;
        match language {
            Language::En => {
                ("words_at_most", format!("Use at most {count} words."), Constraint::WordsAtMost(count))
            }
            Language::Zh => (
                "words_at_most",
                format!("不超过{}个汉字。", count * 2),
                Constraint::IdeographsAtMost(count * 2),
            ),
        }
    },
    |language, random| {
        let count = 10 + random.below(4) * 5;
        match language {
            Language::En => {
                ("words_at_least", format!("Use at least {count} words."), Constraint::WordsAtLeast(count))
            }
            Language::Zh => {
                ("words_at_least", format!("至少写{count}个汉字。"), Constraint::IdeographsAtLeast(count))
            }
        }
    },
    |language, random| {
        let count = 2 + random.below(3);
        let text = say(
            language,
            format!("Answer with exactly {count} bullet points, each beginning with \"- \"."),
            format!("正好用{count}个要点回答，每个要点单独一行，以“- ”开头。"),
        );
        ("bullets", text, Constraint::Bullets(count))
    },
    |language, random| {
        let count = 2 + random.below(3);
        let text = say(
            language,
            format!("Answer with a numbered list of exactly {count} lines: 1., 2., and so on."),
            format!("用正好{count}行的编号列表回答：1.、2.，依此类推。"),
        );
        ("numbered", text, Constraint::Numbered(count))
    },
    |language, random| {
        let start = word(
            language,
            *random.pick(&[("To begin with", "首先"), ("In short", "总之"), ("Honestly", "说实话")]),
        );
        let text =
            say(language, format!("Begin your answer with \"{start}\"."), format!("回答要以“{start}”开头。"));
        ("starts_with", text, Constraint::StartsWith(start.to_owned()))
    },
    |language, random| {
        let end = word(
            language,
            *random.pick(&[("That is all.", "就是这样。"), ("Thank you.", "谢谢。"), ("The end.", "完。")]),
        );
        let text = say(
            language,
            format!("End your answer with \"{end}\" and nothing after it."),
            format!("回答要以“{end}”结尾，后面不要再写任何内容。"),
        );
        ("ends_with", text, Constraint::EndsWith(end.to_owned()))
    },
    |language, _| match language {
        Language::En => {
            ("letters", "Write everything in capital letters.".to_owned(), Constraint::AllCapitals)
        }
        Language::Zh => ("letters", "只用中文回答。".to_owned(), Constraint::InChinese),
    },
    |language, _| match language {
        Language::En => {
            ("lower_case", "Write everything in lowercase letters.".to_owned(), Constraint::NoCapitals)
        }
        Language::Zh => ("lower_case", "只用英文回答。".to_owned(), Constraint::InEnglish),
    },
    |language, _| {
        let text = say(language, "Do not use any commas.".to_owned(), "不要使用逗号。".to_owned());
        ("no_comma", text, Constraint::NoComma)
    },
    |language, random| keyword(language, random),
    |language, random| {
        let banned = word(language, *random.pick(&[("the", "的"), ("and", "是"), ("good", "好")]));
        let text = say(
            language,
            format!("Do not use the letters \"{banned}\" in a row anywhere."),
            format!("不要出现“{banned}”字。"),
        );
        ("excludes", text, Constraint::Excludes(banned.to_owned()))
    },
    |language, _| {
        let text = say(
            language,
            "Answer with a JSON object that has exactly the keys \"title\" and \"text\".".to_owned(),
            "用一个JSON对象回答，正好包含\"title\"和\"text\"两个键。".to_owned(),
        );
        ("json", text, Constraint::JsonKeys(vec!["title".to_owned(), "text".to_owned()]))
    },
    |language, _| {
        let text = say(
            language,
            "Put your whole answer in double quotation marks.".to_owned(),
            "把整个回答放在双引号里。".to_owned(),
        );
        ("quoted", text, Constraint::Quoted)
    },
    |language, _| {
        let text = say(
            language,
            "Give your answer a title in double angle brackets, such as <<A title>>.".to_owned(),
            "给你的回答加一个标题，放在书名号里，例如《标题》。".to_owned(),
        );
        ("title", text, Constraint::Title)
    },
    |language, _| {
        let options = match language {
            Language::En => vec!["Yes".to_owned(), "No".to_owned()],
            Language::Zh => vec!["是".to_owned(), "否".to_owned()],
        };
        let text = say(
            language,
            "Answer with one word only: Yes or No.".to_owned(),
            "只用一个字回答：是或否。".to_owned(),
        );
        ("one_of", text, Constraint::OneOf(options))
    },
    |language, random| {
        let count = 2 + random.below(2);
        let text = say(
            language,
            format!("Include at least {count} placeholders in square brackets, such as [name]."),
            format!("至少包含{count}个方括号占位符，例如[姓名]。"),
        );
        ("placeholders", text, Constraint::Placeholders(count))
    },
];

fn keyword(language: Language, random: &mut Random) -> Demand {
    let wanted = word(language, *random.pick(KEYWORDS));
    let text = say(language, format!("Use the word \"{wanted}\"."), format!("要用到“{wanted}”这个词。"));
    // In an English answer to a Chinese prompt the word still stands as given.
    ("keyword", text, Constraint::Includes(wanted.to_owned()))
}
