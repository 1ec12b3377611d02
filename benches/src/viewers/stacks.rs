//! Call stacks that `perf` has sampled: shares by what is in them, and a flame graph.

use std::{collections::BTreeMap, fmt::Write as _};

/// A sample's frames, the outermost first, and whether the innermost is the kernel's.
#[derive(Debug, PartialEq, Eq)]
pub struct Stack {
    frames: Vec<String>,
    /// The program, library or `[kernel]` in which the time was spent.
    module: String,
}

/// Parses the output of `perf script -F comm,ip,sym,dso`: a line that names the thread, one line
/// per frame from the innermost on, an empty line.
pub fn parse(script: &str) -> Vec<Stack> {
    let samples = script.split("\n\n");
    samples
        .filter_map(|sample| {
            let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
            let thread = lines.next()?.trim().to_owned();
            let frames: Vec<_> = lines.filter_map(frame).collect();
            let module = frames.first()?.1.to_owned();
            let inwards = frames.iter().rev().map(|(name, _)| (*name).to_owned());
            Some(Stack {
                frames: std::iter::once(thread).chain(inwards).collect(),
                module,
            })
        })
        .collect()
}

/// A frame's function and module: `ffffffff8 tcp_sendmsg ([kernel.kallsyms])`.
fn frame(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.trim().split_once(' ')?;
    let (name, module) = rest.rsplit_once(" (")?;
    let module = module.trim_end_matches(')');
    let module = module.rsplit('/').next().unwrap_or(module);
    let kernel = module.starts_with("[kernel") || module.starts_with("[guest");
    Some((name.trim(), if kernel { "[kernel]" } else { module }))
}

/// Shares of all samples, in percent.
pub struct Shares<'a>(pub &'a [Stack]);

impl Shares<'_> {
    fn of(&self, which: impl Fn(&Stack) -> bool) -> f64 {
        let count = self.0.iter().filter(|stack| which(stack)).count();
        count as f64 * 100.0 / self.0.len().max(1) as f64
    }

    /// Of those spent in this module.
    pub fn in_module(&self, module: &str) -> f64 {
        self.of(|stack| stack.module == module)
    }

    /// Of those that are somewhere below one of these functions.
    pub fn below(&self, functions: &[&str]) -> f64 {
        self.of(|stack| {
            let mut frames = stack.frames.iter();
            frames.any(|name| functions.contains(&name.as_str()))
        })
    }

    /// The functions in which most samples end, with their shares.
    pub fn hottest(&self, count: usize) -> Vec<(String, f64)> {
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for stack in self.0 {
            *ends
                .entry(stack.frames.last().map_or("", String::as_str))
                .or_default() += 1;
        }
        let mut ends: Vec<_> = ends.into_iter().collect();
        ends.sort_by_key(|&(_, samples)| std::cmp::Reverse(samples));
        let share = |samples: usize| samples as f64 * 100.0 / self.0.len().max(1) as f64;
        let hottest = ends.into_iter().take(count);
        hottest
            .map(|(name, samples)| (name.to_owned(), share(samples)))
            .collect()
    }
}

#[derive(Default)]
struct Node {
    samples: usize,
    children: BTreeMap<String, Node>,
}

const WIDTH: f64 = 1_200.0;
const ROW: f64 = 16.0;
/// Narrower frames are skipped.
const LEAST: f64 = 2.5;
/// The width of a letter, about.
const LETTER: f64 = 6.4;

/// A flame graph: each frame as wide as its share, above its caller; the title has the number of
/// samples.
pub fn flame_graph(stacks: &[Stack], title: &str) -> String {
    let mut root = Node::default();
    for stack in stacks {
        root.samples += 1;
        let mut node = &mut root;
        for name in &stack.frames {
            node = node.children.entry(name.clone()).or_default();
            node.samples += 1;
        }
    }
    let scale = WIDTH / root.samples.max(1) as f64;
    let rows = depth(&root, scale);
    let height = (rows as f64 + 2.0) * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"monospace\" font-size=\"10.5\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"4\" y=\"12\">{}</text>\n",
        escape(title)
    );
    let base = height - ROW;
    draw(&mut svg, "all", &root, (0.0, base), scale, root.samples);
    svg.push_str("</svg>\n");
    svg
}

fn depth(node: &Node, scale: f64) -> usize {
    let wide = |child: &&Node| child.samples as f64 * scale >= LEAST;
    let below = node.children.values().filter(wide);
    1 + below.map(|child| depth(child, scale)).max().unwrap_or(0)
}

fn draw(svg: &mut String, name: &str, node: &Node, (x, y): (f64, f64), scale: f64, all: usize) {
    let width = node.samples as f64 * scale;
    if width < LEAST {
        return;
    }
    let share = node.samples as f64 * 100.0 / all.max(1) as f64;
    let letters = ((width - 4.0) / LETTER) as usize;
    let shown: String = name.chars().take(letters).collect();
    let _ = writeln!(
        svg,
        "<g><title>{} {share:.1} %</title><rect x=\"{x:.1}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"15\" fill=\"{}\"/>\
         <text x=\"{:.1}\" y=\"{:.0}\">{}</text></g>",
        escape(name),
        width - 0.5,
        colour(name),
        x + 2.0,
        y + 11.0,
        escape(if letters > 2 { &shown } else { "" }),
    );
    let mut at = x;
    for (name, child) in &node.children {
        draw(svg, name, child, (at, y - ROW), scale, all);
        at += child.samples as f64 * scale;
    }
}

/// The same name has the same warm colour everywhere.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(7_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("hsl({},80%,{}%)", 15 + hash % 40, 62 + hash / 64 % 16)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "egress-0 \n\tffffffff81 tcp_ack ([kernel.kallsyms])\n\tffffffff82 do_writev ([kernel.kallsyms])\n\
        \t55d0 core::iter::<T as X>::next (/usr/bin/livetrail)\n\negress-0 \n\t55d1 serve (/usr/bin/livetrail)\n\n";

    #[test]
    fn samples_are_read_from_the_outermost_frame_on() {
        let stacks = parse(SCRIPT);
        assert_eq!(stacks.len(), 2);
        assert_eq!(
            stacks[0].frames,
            [
                "egress-0",
                "core::iter::<T as X>::next",
                "do_writev",
                "tcp_ack"
            ]
        );
        let shares = Shares(&stacks);
        assert_eq!(shares.in_module("[kernel]"), 50.0);
        assert_eq!(shares.in_module("livetrail"), 50.0);
        assert_eq!(shares.below(&["do_writev", "writev"]), 50.0);
        assert_eq!(shares.hottest(1), [("serve".to_owned(), 50.0)]);
    }

    #[test]
    fn a_flame_graph_names_each_frame_and_its_share() {
        let svg = flame_graph(&parse(SCRIPT), "a & b");
        assert!(svg.contains("<title>egress-0 100.0 %</title>"));
        assert!(svg.contains("<title>core::iter::&lt;T as X&gt;::next 50.0 %</title>"));
        assert!(svg.contains("a &amp; b"));
    }
}
