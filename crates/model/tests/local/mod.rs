//! The local language model: generation, reuse of what was read, likelihoods, limits.

use model::{Activation, Finish, GenerateOptions, LanguageModel, LoadOptions, Local};

use crate::tiny;

fn local(family: &str) -> (tempfile::TempDir, Local) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny");
    tiny::write(&path, family);
    let local = Local::open(&path, &LoadOptions { activation: Activation::F32, context: None }).unwrap();
    (folder, local)
}

/// Log-softmax of one row, in f64.
fn log_softmax(row: &[f32], token: u32) -> f64 {
    let largest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)) as f64;
    let sum: f64 = row.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
    f64::from(row[token as usize]) - largest - sum.ln()
}

#[test]
fn greedy_text_follows_the_logits_and_reuse_changes_nothing() {
    for family in ["llama", "qwen2", "qwen3"] {
        let (_folder, mut model) = local(family);
        let options = GenerateOptions { max_tokens: 12, ..GenerateOptions::default() };
        let mut streamed = String::new();
        let first = model
            .generate("水 and a b", &options, &mut |piece| {
                streamed.push_str(piece);
                true
            })
            .unwrap();
        assert_eq!(streamed, first.text);
        assert!(!first.tokens.is_empty() || first.finish == Finish::Stop);
        // Token by token, from a fresh context each time.
        let mut tokens = model.tokenizer().encode_prompt("水 and a b");
        if let Some(beginning) = model.tokenizer().beginning().filter(|b| tokens.first() != Some(b)) {
            tokens.insert(0, beginning);
        }
        let vocabulary = model.config().vocabulary;
        for (token, log_probability) in first.tokens.iter().zip(&first.log_probabilities) {
            let logits = model.logits(&tokens).unwrap();
            let row = &logits[logits.len() - vocabulary..];
            let best = row.iter().enumerate().fold(0, |b, (i, x)| if *x > row[b] { i } else { b });
            assert_eq!(*token, best as u32);
            assert!((f64::from(*log_probability) - log_softmax(row, *token)).abs() < 1e-4);
            tokens.push(*token);
        }
        // The cache now holds a prefix of the prompt; a shorter and a longer prompt must not notice.
        let again = model.generate("水 and a b", &options, &mut |_| true).unwrap();
        assert_eq!(again, first);
        let other = model.generate("水 and c", &options, &mut |_| true).unwrap();
        let (_folder, mut fresh) = local(family);
        assert_eq!(fresh.generate("水 and c", &options, &mut |_| true).unwrap(), other);
    }
}

#[test]
fn likelihoods_are_sums_over_the_continuation() {
    let (_folder, mut model) = local("llama");
    let found = model.log_likelihood("ab", &[" a", " aba c", "中文", " a"]).unwrap();
    assert_eq!(found[0], found[3], "what was read before does not matter");
    for (continuation, found) in [" a", " aba c", "中文"].iter().zip(&found) {
        let context = model.tokenizer().encode_prompt("ab");
        let mut whole = model.tokenizer().encode_prompt(&format!("ab{continuation}"));
        let beginning = model.tokenizer().beginning();
        let from = context.iter().zip(&whole).take_while(|(a, b)| a == b).count();
        let shift = usize::from(beginning.is_some());
        if let Some(beginning) = beginning {
            whole.insert(0, beginning);
        }
        let logits = model.logits(&whole).unwrap();
        let vocabulary = model.config().vocabulary;
        let sum: f64 = (from + shift..whole.len())
            .map(|at| log_softmax(&logits[(at - 1) * vocabulary..at * vocabulary], whole[at]))
            .sum();
        assert!((found.sum - sum).abs() < 1e-3, "{continuation}: {} is not {sum}", found.sum);
        assert_eq!(found.tokens, whole.len() - from - shift);
    }
}

#[test]
fn windows_score_their_second_half() {
    let (_folder, mut model) = local("qwen3");
    let text = "a b ab aba 1 2 3 中文 ".repeat(6);
    let window = 16;
    let rolled = model.rolling_log_likelihood(&text, window).unwrap();
    let beginning = model.tokenizer().beginning();
    let mut tokens: Vec<u32> = beginning.into_iter().collect();
    tokens.extend(model.tokenizer().encode(&text));
    let vocabulary = model.config().vocabulary;
    let (mut sum, mut count) = (0.0, 0);
    for chunk in tokens.chunks_exact(window) {
        let mut chunk = chunk.to_vec();
        if let Some(beginning) = beginning {
            chunk[0] = beginning;
        }
        let logits = model.logits(&chunk).unwrap();
        for at in window / 2..window - 1 {
            sum += log_softmax(&logits[at * vocabulary..(at + 1) * vocabulary], chunk[at + 1]);
            count += 1;
        }
    }
    assert_eq!(rolled.tokens, count);
    assert!((rolled.sum - sum).abs() < 1e-2, "{} is not {sum}", rolled.sum);
    assert_eq!(rolled.windows.len(), tokens.len() / window);
    assert!((rolled.windows.iter().sum::<f64>() - rolled.sum).abs() < 1e-9);
    assert!(model.rolling_log_likelihood("too short", window).is_err());
}

#[test]
fn limits_are_kept_and_named() {
    let (folder, mut model) = local("llama");
    let long = "1 ".repeat(200);
    let refused = model.generate(&long, &GenerateOptions::default(), &mut |_| true).unwrap_err().to_string();
    assert!(refused.contains("128") && refused.contains("shorten"), "{refused}");
    assert!(
        model.generate("", &GenerateOptions::default(), &mut |_| true).is_err()
            || model.tokenizer().beginning().is_some()
    );
    // The context ends the generation, not an error.
    let options = LoadOptions { activation: Activation::F32, context: Some(8) };
    let mut small = Local::open(&folder.path().join("tiny"), &options).unwrap();
    let all = small.generate("a b", &GenerateOptions::default(), &mut |_| true).unwrap();
    assert!(all.prompt_tokens + all.tokens.len() <= 9, "{all:?}");
    // Cancelled by the receiver after its first piece.
    let mut pieces = 0;
    let cancelled = model
        .generate("a b", &GenerateOptions::default(), &mut |_| {
            pieces += 1;
            false
        })
        .unwrap();
    assert!(pieces <= 1 && (pieces == 0 || cancelled.finish == Finish::Cancelled));
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let (_folder, mut model) = local("qwen2");
    let options =
        |seed| GenerateOptions { max_tokens: 24, temperature: 1.5, seed, ..GenerateOptions::default() };
    let mut text = |seed| model.generate("中 a", &options(seed), &mut |_| true).unwrap().tokens;
    let (first, second, same) = (text(1), text(2), text(1));
    assert_eq!(first, same);
    assert_ne!(first, second);
}
