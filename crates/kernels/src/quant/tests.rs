//! Table completeness, block arithmetic, bytes and values recorded from the reference implementation.
use super::*;

#[test]
fn every_format_is_registered_once() {
    for entry in &FORMATS {
        assert_eq!(Format::from_id(entry.id), Ok(entry.format));
        assert_eq!(Format::from_name(&entry.name.to_lowercase()), Ok(entry.format));
        assert_eq!(entry.format.name(), entry.name);
    }
    assert!(Format::from_id(99).unwrap_err().to_string().contains("Q4_K"));
}

/// Lines made by `scripts/record_quant_fixtures.py`: (read or write, format, from, to).
fn recorded() -> Vec<(&'static str, Format, Vec<u8>, Vec<u8>)> {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    };
    let line = |line: &'static str| match line.split(' ').collect::<Vec<_>>()[..] {
        [what, name, from, to] => (what, Format::from_name(name).unwrap(), bytes(from), bytes(to)),
        _ => panic!("not a recorded line: {line}"),
    };
    include_str!("recorded.txt").lines().map(line).collect()
}

fn floats(big_endian: &[u8]) -> Vec<f32> {
    big_endian.chunks_exact(4).map(|b| f32::from_be_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn values_are_those_of_the_reference_bit_for_bit() {
    let mut formats = Vec::new();
    for (_, format, blocks, values) in recorded().into_iter().filter(|r| r.0 == "read") {
        let expected = floats(&values);
        let mut got = vec![f32::NAN; expected.len()];
        dequantize(format, &blocks, &mut got).unwrap();
        for (i, (a, b)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(a.to_bits(), b.to_bits(), "{} at {i}: {a} not {b}", format.name());
        }
        formats.push(format);
    }
    let all: Vec<Format> = FORMATS.iter().map(|e| e.format).filter(|&f| f != Format::F32).collect();
    assert!(all.iter().all(|format| formats.contains(format)), "recorded: {formats:?}");
}

#[test]
fn written_bytes_are_those_of_the_reference() {
    let mut formats = Vec::new();
    for (_, format, values, blocks) in recorded().into_iter().filter(|r| r.0 == "write") {
        assert_eq!(quantize(format, &floats(&values)).unwrap(), blocks, "{}", format.name());
        formats.push(format);
    }
    let all: Vec<Format> =
        FORMATS.iter().map(|e| e.format).filter(|&f| f != Format::F32 && f.writable()).collect();
    assert!(all.iter().all(|format| formats.contains(format)), "recorded: {formats:?}");
}
