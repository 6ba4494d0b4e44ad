//! Tuned checkpoints of a known family: evaluated in memory, written as files any tool opens.

use std::path::Path;

use kernels::quant::Format;
use model::config::Layers;
use model::convert::convert;
use model::template::{CHATML, ChatTemplate};
use model::tokenizer::{Tokenizer, Vocabulary};
use model::{
    Activation, Checkpoint, Config, LanguageModel, LoadOptions, Local, LowRank, Packed, Parameters, Train,
};

use crate::tiny;

fn tune(parameters: &mut Parameters) {
    let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
    for (index, name) in names.iter().enumerate() {
        let noise = tiny::random(index as u64, parameters.values(name).unwrap().len());
        parameters
            .update(name, |values| values.iter_mut().zip(noise).for_each(|(v, n)| *v += 0.3 * n))
            .unwrap();
    }
}

fn logits(path: &Path) -> Vec<f32> {
    let options = LoadOptions { activation: Activation::F32, context: None };
    Local::open(path, &options).unwrap().logits(&[5, 80, 200, 7, 7, 131]).unwrap()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn low_rank_changes_merge_into_every_kind_of_file() {
    for family in ["llama", "qwen2", "qwen3"] {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        tiny::write(&at("start"), family);
        convert(&at("start"), &at("base.gguf"), Format::Q8_0).unwrap();
        let checkpoint = Checkpoint::open(&at("base.gguf")).unwrap();
        let low_rank = LowRank { rank: 4, alpha: 8.0, ..LowRank::default() };
        let mut parameters = Parameters::open(&checkpoint, &Train::LowRank(low_rank), 1).unwrap();
        tune(&mut parameters);
        let model = parameters.freeze(Activation::F32).unwrap();
        let expected = {
            let packed = Packed::one(vec![5, 80, 200, 7, 7, 131]);
            let hidden = model.hidden(&packed, &mut model::Hooks::new()).unwrap();
            ops::values_of(model.logits(hidden))
        };
        assert!(furthest(&expected, &logits(&at("base.gguf"))) > 0.05, "{family}");
        for (output, format, tolerance) in [
            ("merged.gguf", Format::F32, 1e-4),
            ("merged", Format::F32, 1e-4),
            ("half.gguf", Format::F16, 2e-2),
            ("small.gguf", Format::Q8_0, 2e-1),
        ] {
            let done = parameters.write(&checkpoint, &at(output), format).unwrap();
            assert!(done.tensors > 15 && done.bytes > 0);
            let difference = furthest(&expected, &logits(&at(output)));
            assert!(difference < tolerance, "{family} {output}: {difference}");
        }
        // Tensors without a change are copied.
        let small = Checkpoint::open(&at("small.gguf")).unwrap();
        assert_eq!(small.tensor("embed").unwrap(), checkpoint.tensor("embed").unwrap());
        assert_ne!(
            small.tensor("blocks.0.mixer.query").unwrap(),
            checkpoint.tensor("blocks.0.mixer.query").unwrap()
        );
    }
}

#[test]
fn a_model_in_training_is_evaluated_like_a_file() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    tiny::write(&at("start"), "llama");
    convert(&at("start"), &at("base.gguf"), Format::Q8_0).unwrap();
    let checkpoint = Checkpoint::open(&at("base.gguf")).unwrap();
    let mut parameters = Parameters::open(&checkpoint, &Train::LowRank(LowRank::default()), 1).unwrap();
    let local = |parameters: &Parameters| {
        let tokenizer = checkpoint.tokenizer().unwrap();
        let template = checkpoint.chat_template(&tokenizer).unwrap();
        Local::new("tuned", parameters.freeze(Activation::Int8).unwrap(), tokenizer, template).unwrap()
    };
    let sums = |model: &mut Local| {
        let answers = model.log_likelihood("aba 格物 ", &["ab", "abab", "致知"]).unwrap();
        answers.into_iter().map(|answer| answer.sum).collect::<Vec<_>>()
    };
    let mut file = Local::open(&at("base.gguf"), &LoadOptions::default()).unwrap();
    let mut memory = local(&parameters);
    assert_eq!(sums(&mut memory), sums(&mut file), "an untrained change is none, to the bit");
    tune(&mut parameters);
    memory.replace(parameters.freeze(Activation::Int8).unwrap()).unwrap();
    let tuned = sums(&mut memory);
    assert!(tuned.iter().zip(sums(&mut file)).all(|(a, b)| (a - b).abs() > 1e-3));
    assert_eq!(tuned, sums(&mut local(&parameters)));
}

#[test]
fn a_hybrid_reuses_its_states_without_changing_an_answer() {
    let markers = ["<|im_start|>", "<|im_end|>"];
    let tokenizer = || Tokenizer::new(Vocabulary::new(&[], &markers).unwrap()).unwrap();
    let mut config = Config::new(260, 32, 512, Layers::parse("2 x [delta, conv, attention]").unwrap());
    config.channel.hidden = 48;
    let mut parameters = Parameters::random(&config, 2).unwrap();
    tune(&mut parameters);
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("own");
    parameters.write_new(&tokenizer(), Some(CHATML), &folder, Format::F32).unwrap();
    let fresh = || {
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        Local::new("hybrid", parameters.freeze(Activation::F32).unwrap(), tokenizer(), template).unwrap()
    };
    let options = LoadOptions { activation: Activation::F32, context: None };
    let mut used = Local::open(&folder, &options).unwrap();
    let context = "The state of a recurrent block returns to marks only. ";
    let continuations = ["One.", "Another one.", "A third, longer than the others.", "O"];
    let together = used.log_likelihood(context, &continuations).unwrap();
    for (continuation, found) in continuations.iter().zip(together) {
        let alone = fresh().log_likelihood(context, &[continuation]).unwrap().remove(0);
        assert!(
            (alone.sum - found.sum).abs() < 1e-3 * alone.sum.abs(),
            "{continuation}: {alone:?} {found:?}"
        );
        assert_eq!(alone.tokens, found.tokens);
    }
    let options = model::GenerateOptions { max_tokens: 12, temperature: 0.0, ..Default::default() };
    let generated = used.generate(context, &options, &mut |_| true).unwrap();
    assert_eq!(generated.tokens, fresh().generate(context, &options, &mut |_| true).unwrap().tokens);
    let again = used.generate(context, &options, &mut |_| true).unwrap();
    assert_eq!(generated.tokens, again.tokens);
    assert_eq!(Checkpoint::open(&folder).unwrap().config(), &config);
    assert!(convert(&folder, &temporary.path().join("x.gguf"), Format::F16).is_err());
    convert(&folder, &temporary.path().join("half"), Format::BF16).unwrap();
    assert!(Local::open(&temporary.path().join("half"), &LoadOptions::default()).is_ok());
}
