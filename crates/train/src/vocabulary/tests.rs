//! Learned vocabularies are read by the model's tokenizer, write every text and read it back.

use super::*;
use proptest::prelude::*;

const TEXTS: [&str; 4] = [
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "明月几时有，把酒问青天。不知天上宫阙，今夕是何年。",
    "The lower the newest low, the wider the widest width; lower, lower, don't they?",
    "In 2024 there were 1234 newest lower things.\n\nAnd  then\tmore 明月.",
];

fn tokenizer(learned: &Learned) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    learned.write(folder.path()).unwrap();
    let tokenizer = open(folder.path()).unwrap();
    assert_eq!(tokenizer.len(), learned.len());
    tokenizer
}

#[test]
fn bytes_are_tokens() {
    let tokenizer = tokenizer(&Learned::bytes());
    assert_eq!(tokenizer.len(), 259);
    assert_eq!(tokenizer.encode("a格").len(), 4);
    assert_eq!(tokenizer.vocabulary().eos, Some(0));
    assert!(tokenizer.is_end(0) && tokenizer.marker(TURN_END) == Some(2));
    assert_eq!(tokenizer.beginning(), None);
}

#[test]
fn training_and_encoding_cut_alike() {
    let learned = Learned::train(TEXTS, 330, Unit::Word).unwrap();
    assert!(learned.len() > 290, "{}", learned.len());
    let tokenizer = tokenizer(&learned);
    for text in TEXTS {
        let tokens = tokenizer.encode(text);
        assert!(tokens.len() * 3 < text.len() * 2, "{} tokens for {} bytes", tokens.len(), text.len());
        assert_eq!(tokenizer.decode(&tokens), text);
    }
    // The frequent words became one token each, a word with the space before it.
    let word = |text: &str| tokenizer.encode(text).len();
    assert_eq!((word(" lower"), word("明月")), (1, 1));
}

#[test]
fn frequent_characters_are_one_token_each() {
    let learned = Learned::train(TEXTS, 4096, Unit::Character).unwrap();
    let tokenizer = tokenizer(&learned);
    let length = |text: &str| tokenizer.encode(text).len();
    assert_eq!(length("明月明"), 3);
    assert_eq!(length("明月，头"), 4);
    assert_eq!(length("ab"), 2);
    assert_eq!(length("格"), 3, "a character that never occurred stays bytes");
}

#[test]
fn the_same_texts_give_the_same_vocabulary() {
    let forward = Learned::train(TEXTS, 400, Unit::Word).unwrap();
    let backward = Learned::train(TEXTS.into_iter().rev(), 400, Unit::Word).unwrap();
    assert_eq!(forward, backward);
    assert!(Learned::train(TEXTS, 200, Unit::Word).is_err());
}

proptest! {
    #[test]
    fn every_text_comes_back(text in "(?s).{0,40}", chinese in "[一-龥，。 \n]{0,30}") {
        static TOKENIZERS: std::sync::OnceLock<[Tokenizer; 2]> = std::sync::OnceLock::new();
        let learned = |unit| tokenizer(&Learned::train(TEXTS, 340, unit).unwrap());
        for tokenizer in TOKENIZERS.get_or_init(|| [Unit::Word, Unit::Character].map(learned)) {
            for text in [&text, &chinese] {
                prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(text)), text);
            }
        }
    }
}
