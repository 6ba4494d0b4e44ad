//! Prompts for a small model: two short examples, then the question. The examples come first, so that what the model
//! computed for them is reused from question to question.

use model::Message;

use crate::terms::is_chinese;

const FACTS: &str = "Answer with a few words from the facts.\n\n\
Facts: The height of Mont Blanc is 4806 m.\nQuestion: How high is Mont Blanc?\nAnswer: 4806 m\n\n\
Facts: The composer of Aida is Giuseppe Verdi.\nQuestion: Who composed Aida?\nAnswer: Giuseppe Verdi\n\n";

const FACTS_ZH: &str = "根据事实，用几个字回答。\n\n\
事实：泰山的海拔是 1532.7 m。\n问题：泰山的海拔是多少？\n答案： 1532.7 m\n\n\
事实：红楼梦的作者是 曹雪芹。\n问题：谁写了红楼梦？\n答案： 曹雪芹\n\n";

const PASSAGE: &str = "Answer with words copied from the text.\n\n\
Text: The Danube rises in the Black Forest. It flows into the Black Sea.\nQuestion: Where does the Danube end?\n\
Answer: It flows into the Black Sea.\n\n";

const CLOZE: &str = "Fill the gap with the words of the text.\n\n\
Text: Bees make honey from nectar. They live in hives.\nGap: Bees make ____ from nectar.\nAnswer: honey\n\n";

const BRIEF: &str = "Answer with a few words.";
const BRIEF_ZH: &str = "用几个字回答。";

/// Questions with their answers, shown to a model that was not tuned.
const EXAMPLES: [(&str, &str); 2] =
    [("How high is Mont Blanc?", "4806 m"), ("Who composed Aida?", "Giuseppe Verdi")];
const EXAMPLES_ZH: [(&str, &str); 2] = [("泰山的海拔是多少？", "1532.7 m"), ("谁写了红楼梦？", "曹雪芹")];

/// Over facts as sentences.
pub(crate) fn facts(lines: &[&str], question: &str) -> String {
    if is_chinese(question) {
        return format!("{FACTS_ZH}事实：{}\n问题：{question}\n答案：", lines.join(""));
    }
    format!("{FACTS}Facts: {}\nQuestion: {question}\nAnswer:", lines.join(" "))
}

/// Over a passage.
pub(crate) fn passage(text: &str, question: &str) -> String {
    format!("{PASSAGE}Text: {}\nQuestion: {question}\nAnswer:", one_line(text))
}

/// Over a passage, for a statement with a gap.
pub(crate) fn cloze(text: &str, statement: &str) -> String {
    format!("{CLOZE}Text: {}\nGap: {statement}\nAnswer:", one_line(text))
}

/// Without support: a conversation.
pub(crate) fn closed_book(question: &str) -> Vec<Message> {
    let brief = if is_chinese(question) { BRIEF_ZH } else { BRIEF };
    vec![Message::new("system", brief), Message::new("user", question)]
}

/// A conversation with two answered questions before the last.
pub(crate) fn with_examples(messages: &[Message]) -> Vec<Message> {
    let Some((last, before)) = messages.split_last() else { return Vec::new() };
    let examples = if is_chinese(&last.content) { EXAMPLES_ZH } else { EXAMPLES };
    let mut out = before.to_vec();
    for (question, answer) in examples {
        out.extend([Message::new("user", question), Message::new("assistant", answer)]);
    }
    out.push(last.clone());
    out
}

/// Over a text, as a conversation.
pub(crate) fn reading(text: &str, question: &str) -> Vec<Message> {
    let brief = if is_chinese(question) { BRIEF_ZH } else { BRIEF };
    let label = if is_chinese(question) { "问题：" } else { "Question: " };
    let user = format!("{}\n\n{label}{question}", text.trim());
    vec![Message::new("system", brief), Message::new("user", user)]
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
