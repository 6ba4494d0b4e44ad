//! The grammar, the round trip through JSON and TOML, and what validation refuses.

use super::*;
use crate::mixers::MixerKind;

fn smollm2() -> Config {
    Config {
        vocabulary: 49152,
        width: 576,
        context: 8192,
        layers: Layers::uniform(30, MixerKind::Attention),
        norm_epsilon: 1e-5,
        tied_embeddings: true,
        attention: AttentionConfig {
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            rope: RopeConfig {
                base: 100_000.0,
                style: RopeStyle::Half,
                dimensions: None,
                scaling: RopeScaling::None,
            },
            qk_norm: false,
            qkv_bias: false,
            output_bias: false,
        },
        delta: None,
        conv: None,
        channel: ChannelConfig { kind: ChannelKind::Swiglu, hidden: 1536 },
    }
}

#[test]
fn grammar_repeats_groups() {
    for (text, count) in [
        ("30 x [attention]", 30),
        ("2 × [attention, attention], attention", 5),
        ("attention", 1),
        ("attention, 3x[attention]", 4),
    ] {
        assert_eq!(Layers::parse(text).unwrap().len(), count, "{text}");
    }
    assert_eq!(Layers::parse("2 x [attention, attention]").unwrap().to_string(), "4 x [attention]");
}

#[test]
fn grammar_says_what_is_wrong() {
    for (text, message) in [
        ("30 x [atention]", "atention"),
        ("30 x [attention", "without `]`"),
        ("0 x [attention]", "not a count"),
        ("99999999999999999999 x [attention]", "not a count"),
        ("4096 x [attention, attention]", "more than"),
        ("3 [attention]", "expected `3 x"),
        ("2 x [attention] attention", "expected `, <group>`"),
        ("2 x [attention],", "expected `, <group>`"),
    ] {
        let error = Layers::parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "`{text}` gave `{error}`");
    }
}

#[test]
fn configuration_survives_json_and_toml() {
    let mut config = smollm2();
    config.attention.rope.scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 8192,
    };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    let listed = json.replace("\"30 x [attention]\"", &format!("{:?}", vec!["attention"; 30]));
    assert_ne!(listed, json);
    assert_eq!(serde_json::from_str::<Config>(&listed).unwrap(), config);
    let unknown = json.replacen('{', "{\"depth\": 3, ", 1);
    assert!(serde_json::from_str::<Config>(&unknown).unwrap_err().to_string().contains("depth"));
}

#[test]
fn validation_names_the_field() {
    type Change = fn(&mut Config);
    let changes: [(Change, &str); 9] = [
        (|c| c.vocabulary = 0, "vocabulary"),
        (|c| c.width = usize::MAX, "width"),
        (|c| c.attention.kv_heads = 2, "kv_heads"),
        (|c| c.attention.kv_heads = 0, "kv_heads"),
        (|c| c.norm_epsilon = f32::NAN, "norm_epsilon"),
        (|c| c.attention.rope.dimensions = Some(65), "rope.dimensions"),
        (|c| c.attention.rope.base = f32::INFINITY, "rope.base"),
        (|c| c.layers = Layers(Vec::new()), "layers"),
        (|c| c.attention.rope.scaling = RopeScaling::Linear { factor: -1.0 }, "rope.scaling"),
    ];
    smollm2().validate().unwrap();
    for (change, field) in changes {
        let mut config = smollm2();
        change(&mut config);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(field), "{field}: {error}");
    }
}
