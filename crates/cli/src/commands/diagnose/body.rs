//! What `diagnose` prints.

use std::io::{self, Write};

use lifeboat_recovery::finding::{Diagnosis, Evidence, Finding, Remedy};
use serde::Serialize;

use crate::paint::Paint;
use crate::terminal::printable;

/// So much evidence of one finding is shown; a file of facts has the rest.
const MOST_EVIDENCE: usize = 20;

#[derive(Serialize)]
pub(super) struct Body<'a> {
    healthy: bool,
    /// Whether everything could be asked, or why not is explained.
    complete: bool,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
}

impl<'a> Body<'a> {
    pub(super) fn new(diagnosis: &'a Diagnosis) -> Self {
        Self { healthy: diagnosis.is_healthy(), complete: diagnosis.unknown.is_empty(), diagnosis }
    }

    pub(super) fn table(&self, out: &mut dyn Write, paint: Paint, verbose: bool) -> io::Result<()> {
        let mut page = Page { out, paint, verbose };
        for cause in &self.diagnosis.causes {
            page.finding(cause, 0)?;
            writeln!(page.out)?;
        }
        page.unknown(self.diagnosis)?;
        page.verdict(self.diagnosis)?;
        page.coverage(self.diagnosis)
    }
}

struct Page<'a> {
    out: &'a mut dyn Write,
    paint: Paint,
    verbose: bool,
}

impl Page<'_> {
    fn finding(&mut self, finding: &Finding, depth: usize) -> io::Result<()> {
        let indent = "    ".repeat(depth);
        let severity = self.paint.severity(finding.severity, finding.severity);
        let id = self.paint.dim(format!("[{}]", finding.id));
        writeln!(self.out, "{indent}{severity}: {} {id}", shown(&finding.summary))?;
        for evidence in finding.evidence.iter().take(MOST_EVIDENCE) {
            self.evidence(&indent, evidence)?;
        }
        if finding.evidence.len() > MOST_EVIDENCE {
            writeln!(self.out, "{indent}    and {} more", finding.evidence.len() - MOST_EVIDENCE)?;
        }
        // What a consequence stops and what it needs is the cause's affair, unless one wants to know.
        if depth == 0 || self.verbose {
            self.list(&indent, "stops", &finding.blocks)?;
            self.list(&indent, "helps", &remedies(&finding.remedies))?;
        }
        self.consequences(finding, depth)
    }

    fn evidence(&mut self, indent: &str, Evidence { seen, source }: &Evidence) -> io::Result<()> {
        if self.verbose {
            let source = self.paint.dim(format!("({})", shown(source)));
            return writeln!(self.out, "{indent}    {} {source}", shown(seen));
        }
        writeln!(self.out, "{indent}    {}", shown(seen))
    }

    fn list(&mut self, indent: &str, title: &str, lines: &[String]) -> io::Result<()> {
        for (number, line) in lines.iter().enumerate() {
            let title = if number == 0 { title } else { "" };
            writeln!(self.out, "{indent}  {}  {}", self.paint.strong(format!("{title:8}")), shown(line))?;
        }
        Ok(())
    }

    fn consequences(&mut self, finding: &Finding, depth: usize) -> io::Result<()> {
        let below = below(finding);
        if below.is_empty() {
            return Ok(());
        }
        if self.verbose {
            return finding
                .consequences
                .iter()
                .try_for_each(|consequence| self.finding(consequence, depth + 1));
        }
        let ids: Vec<&str> = below.iter().map(|finding| finding.id.as_str()).collect();
        self.list("", "explains", &[format!("{} more: {}", below.len(), ids.join(", "))])
    }

    fn unknown(&mut self, diagnosis: &Diagnosis) -> io::Result<()> {
        if diagnosis.unknown.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "{}", self.paint.strong("Not known, neither well nor broken:"))?;
        for unknown in &diagnosis.unknown {
            writeln!(self.out, "    {}: {}", shown(&unknown.what), shown(&unknown.reason))?;
        }
        writeln!(self.out)
    }

    /// What was looked at and what was not: nothing found is not all is well.
    fn coverage(&mut self, diagnosis: &Diagnosis) -> io::Result<()> {
        let (examined, not) = (diagnosis.examined.join(", "), diagnosis.not_examined.join(", "));
        let line = format!("Examined: {examined}. Not examined: {not}.");
        writeln!(self.out, "{}", self.paint.dim(line))
    }

    fn verdict(&mut self, diagnosis: &Diagnosis) -> io::Result<()> {
        let cluster = shown(&diagnosis.cluster);
        let Some(first) = diagnosis.causes.first() else {
            return match diagnosis.is_healthy() {
                true => writeln!(self.out, "{cluster}: {}", self.paint.good("nothing found")),
                false => writeln!(
                    self.out,
                    "{cluster}: nothing found in what could be asked; what is not known may be broken"
                ),
            };
        };
        let count = diagnosis.causes.len();
        let (causes, explain) = if count == 1 { ("cause", "explains") } else { ("causes", "explain") };
        let follow = match (diagnosis.all().len() - count, self.verbose) {
            (0, _) => String::new(),
            (more, true) => format!(", which {explain} {more} more"),
            (more, false) => format!(", which {explain} {more} more (-v shows what)"),
        };
        writeln!(self.out, "{cluster}: {count} {causes} found{follow}")?;
        writeln!(
            self.out,
            "What it means: lifeboat explain {}. What can be done: lifeboat recover plan.",
            first.id
        )
    }
}

/// Everything a finding explains.
fn below(finding: &Finding) -> Vec<&Finding> {
    let each = finding.consequences.iter().flat_map(|consequence| {
        let mut found = vec![consequence];
        found.append(&mut below(consequence));
        found
    });
    each.collect()
}

/// Remedies in words, the same one on several machines in one line.
fn remedies(remedies: &[Remedy]) -> Vec<String> {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for remedy in remedies {
        let (what, host) = match remedy {
            Remedy::StartService { host, service } => (format!("start {} on", service.label()), host),
            Remedy::RestartService { host, service } => (format!("restart {} on", service.label()), host),
            Remedy::StartVm { host } => ("power on the VM of".into(), host),
            Remedy::EnableService { host, service } => (format!("enable {} on", service.label()), host),
            Remedy::RecoverNode { host } => ("restart the kubelet on".into(), host),
            other => {
                lines.push((other.to_string(), Vec::new()));
                continue;
            }
        };
        match lines.iter_mut().find(|(known, _)| *known == what) {
            Some((_, hosts)) => hosts.push(host),
            None => lines.push((what, vec![host])),
        }
    }
    let line = |(what, hosts): (String, Vec<&str>)| match hosts.as_slice() {
        [] => what,
        hosts => format!("{what} {}", hosts.join(", ")),
    };
    lines.into_iter().map(line).collect()
}

/// Machines say what they like; a terminal must not obey it.
fn shown(text: &str) -> String {
    printable(text.as_bytes())
}
