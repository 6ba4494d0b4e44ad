//! CNXML, the format of OpenStax modules: title, headings, paragraphs, lists, tables, formulas on a line, glossary.

use quick_xml::{Reader, events::Event};

use super::{Draft, Emit, Refusal, decode};

/// Elements whose text is a block of its own.
const BLOCKS: &[&str] = &[
    "para",
    "title",
    "item",
    "caption",
    "row",
    "equation",
    "meaning",
    "quote",
    "code",
    "preformat",
    "note",
    "section",
    "problem",
    "solution",
    "list",
    "example",
    "exercise",
];

/// Elements with nothing to read.
const SILENT: &[&str] = &["metadata", "media", "newline", "iframe", "cnxml-pi", "featured-links"];

/// Formula elements with a sign between their two parts.
const INFIX: &[(&str, &str)] =
    &[("mfrac", "/"), ("msup", "^"), ("msub", "_"), ("msubsup", "_"), ("mover", "")];

#[derive(Default)]
struct Module {
    text: String,
    line: String,
    title: Option<String>,
    licence: Option<String>,
    definitions: Vec<(String, String)>,
    term: String,
    id: Option<String>,
}

impl Module {
    /// Ends the current block.
    fn flush(&mut self) {
        let line = self.line.split_whitespace().collect::<Vec<_>>().join(" ");
        self.line.clear();
        if !line.is_empty() {
            if !self.text.is_empty() {
                self.text.push_str("\n\n");
            }
            self.text.push_str(&line);
        }
    }
}

pub(super) fn read(bytes: &[u8], emit: &mut Emit<'_>) -> Result<(), Refusal> {
    let (xml, _) = decode(bytes)?;
    let module = parse(&xml)?;
    let mut draft =
        Draft { text: module.text, title: module.title, licence: module.licence, ..Draft::default() };
    if let Some(id) = module.id {
        draft.metadata.insert("module".into(), id);
    }
    for (term, meaning) in module.definitions {
        draft.metadata.insert(format!("definition: {term}"), meaning);
    }
    emit(Ok(draft));
    Ok(())
}

fn parse(xml: &str) -> Result<Module, Refusal> {
    let mut reader = Reader::from_str(xml);
    let mut module = Module::default();
    // Open elements with the number of children seen in each, for the signs of formulas.
    let mut open: Vec<(String, usize)> = Vec::new();
    let malformed = |at: u64, what: String| Refusal::whole("malformed", format!("byte {at}: {what}"));
    loop {
        let at = reader.buffer_position();
        match reader.read_event() {
            Err(error) => return Err(malformed(at, error.to_string())),
            Ok(Event::Eof) if open.is_empty() => break,
            Ok(Event::Eof) => {
                return Err(malformed(at, format!("the file ends inside {} elements", open.len())));
            }
            Ok(Event::Start(element)) => {
                let name = element.local_name().as_ref().to_owned();
                if open.is_empty() && name != "document" {
                    return Err(malformed(
                        at,
                        format!("a CNXML module starts with `document`, not `{name}`"),
                    ));
                }
                if name == "license"
                    && let Ok(Some(url)) = element.try_get_attribute("url")
                {
                    module.licence =
                        url.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok().map(|u| u.into_owned());
                }
                start(&name, &mut open, &mut module);
                open.push((name, 0));
            }
            Ok(Event::Empty(element)) => {
                if element.local_name().as_ref() == "newline" {
                    module.line.push(' ');
                }
                if let Some((_, children)) = open.last_mut() {
                    *children += 1;
                }
            }
            Ok(Event::End(_)) => {
                if let Some((name, _)) = open.pop() {
                    end(&name, &open, &mut module);
                }
            }
            Ok(Event::Text(text)) => {
                put(&text.xml_content(quick_xml::XmlVersion::Implicit1_0), &open, &mut module)
            }
            Ok(Event::CData(text)) => put(&text, &open, &mut module),
            Ok(Event::GeneralRef(reference)) => {
                let c = match reference.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    _ => quick_xml::escape::resolve_xml_entity(&reference).unwrap_or(" ").to_owned(),
                };
                put(&c, &open, &mut module);
            }
            Ok(_) => {}
        }
    }
    module.flush();
    Ok(module)
}

fn inside(open: &[(String, usize)], name: &str) -> bool {
    open.iter().any(|(o, _)| o == name)
}

fn start(name: &str, open: &mut [(String, usize)], module: &mut Module) {
    if BLOCKS.contains(&name)
        && !inside(open, "metadata")
        && !inside(open, "definition")
        && !inside(open, "row")
    {
        module.flush();
    }
    if name == "definition" {
        module.flush();
        module.term.clear();
    }
    if name == "entry" && open.last().is_some_and(|(_, cells)| *cells > 0) {
        module.line.push_str(" | ");
    }
    if let Some((parent, children)) = open.last_mut() {
        if *children == 1
            && let Some((_, sign)) = INFIX.iter().find(|(element, _)| element == parent)
        {
            module.line.push_str(sign);
        }
        if parent == "msubsup" && *children == 2 {
            module.line.push('^');
        }
        *children += 1;
        if name == "mrow" && INFIX.iter().any(|(element, _)| element == parent) {
            module.line.push('(');
        }
    }
    if name == "msqrt" {
        module.line.push_str("√(");
    }
}

fn end(name: &str, open: &[(String, usize)], module: &mut Module) {
    let parent = open.last().map_or("", |(p, _)| p.as_str());
    match name {
        "msqrt" => module.line.push(')'),
        "mrow" if INFIX.iter().any(|(element, _)| *element == parent) => module.line.push(')'),
        "math" => module.line.push(' '),
        "term" if parent == "definition" => {
            module.term = module.line.split_whitespace().collect::<Vec<_>>().join(" ");
            module.line = format!("{}: ", module.term);
        }
        "meaning" if parent == "definition" => {
            let line = module.line.split_whitespace().collect::<Vec<_>>().join(" ");
            let meaning = line.strip_prefix(&format!("{}:", module.term)).unwrap_or(&line).trim();
            if !module.term.is_empty() && !meaning.is_empty() {
                module.definitions.push((module.term.clone(), meaning.to_owned()));
            }
            module.flush();
        }
        "title" if parent == "document" => {
            module.title = Some(module.line.split_whitespace().collect::<Vec<_>>().join(" "));
            module.flush();
        }
        _ if BLOCKS.contains(&name)
            && !["metadata", "definition", "row"].iter().any(|outer| inside(open, outer)) =>
        {
            module.flush();
        }
        _ => {}
    }
}

fn put(text: &str, open: &[(String, usize)], module: &mut Module) {
    if open.last().is_some_and(|(name, _)| name == "content-id") {
        module.id = Some(text.trim().to_owned());
    }
    if !SILENT.iter().any(|name| inside(open, name)) {
        module.line.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(xml: &str) -> Draft {
        let mut out = Vec::new();
        read(xml.as_bytes(), &mut |d| out.push(d)).unwrap();
        out.remove(0).unwrap()
    }

    #[test]
    fn a_module() {
        let draft = one(r#"<document xmlns="c"><title>供给 Supply</title>
            <metadata xmlns:md="m"><md:content-id>m1</md:content-id><md:title>no</md:title>
            <md:license url="http://creativecommons.org/licenses/by/4.0/"/></metadata>
            <content><para>One &amp; <emphasis>two</emphasis>.</para>
            <section><title>Head</title><para>Price <m:math><m:mfrac><m:mrow><m:mi>P</m:mi><m:mo>+</m:mo><m:mn>1</m:mn></m:mrow>
            <m:mn>2</m:mn></m:mfrac></m:math> rises&#8212;fast.</para></section>
            <table><tgroup><tbody><row><entry>a</entry><entry>b 5</entry></row></tbody></tgroup></table></content>
            <glossary><definition><term>需求 demand</term><meaning>what <emphasis>buyers</emphasis> want</meaning>
            </definition></glossary></document>"#);
        assert_eq!(draft.title.as_deref(), Some("供给 Supply"));
        let blocks: Vec<&str> = draft.text.split("\n\n").collect();
        assert_eq!(
            blocks,
            [
                "供给 Supply",
                "One & two.",
                "Head",
                "Price (P+1) /2 rises—fast.",
                "a | b 5",
                "需求 demand: what buyers want"
            ]
        );
        assert_eq!(draft.metadata["definition: 需求 demand"], "what buyers want");
        assert_eq!(draft.metadata["module"], "m1");
    }

    #[test]
    fn broken_modules_are_refused_with_the_place() {
        for xml in ["<document><para>x</document>", "<document><para>x", "<other/>x", "<html>a</html>"] {
            let mut out = Vec::new();
            let result = read(xml.as_bytes(), &mut |d| out.push(d));
            assert!(result.is_err() || out[0].as_ref().unwrap().text.trim() == "x", "{xml}: {result:?}");
        }
    }
}
