//! The output of `diagnose`.

use std::io::{self, Write};

use lifeboat_recovery::finding::{Diagnosis, Evidence, Finding, Remedy};
use serde::Serialize;

use crate::styles::Styles;
use crate::terminal::printable;

/// Pieces of evidence shown for one finding; a facts file has the rest.
const MAX_EVIDENCE: usize = 20;

#[derive(Serialize)]
pub(super) struct DiagnosisView<'a> {
    healthy: bool,
    /// Whether the state of everything is known or explained by a finding.
    complete: bool,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
}

impl<'a> DiagnosisView<'a> {
    pub(super) fn new(diagnosis: &'a Diagnosis) -> Self {
        Self { healthy: diagnosis.is_healthy(), complete: diagnosis.unknown.is_empty(), diagnosis }
    }

    pub(super) fn table(&self, out: &mut dyn Write, styles: Styles, verbose: bool) -> io::Result<()> {
        let mut page = Page { out, styles, verbose };
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
    styles: Styles,
    verbose: bool,
}

impl Page<'_> {
    fn finding(&mut self, finding: &Finding, depth: usize) -> io::Result<()> {
        let indent = "    ".repeat(depth);
        let severity = self.styles.severity(finding.severity, finding.severity);
        let id = self.styles.dim(format!("[{}]", finding.id));
        writeln!(self.out, "{indent}{severity}: {} {id}", escaped(&finding.summary))?;
        for evidence in finding.evidence.iter().take(MAX_EVIDENCE) {
            self.evidence(&indent, evidence)?;
        }
        if finding.evidence.len() > MAX_EVIDENCE {
            writeln!(self.out, "{indent}    and {} more", finding.evidence.len() - MAX_EVIDENCE)?;
        }
        // Fixing the cause fixes its consequences, so their impact and fix are shown only with -v.
        if depth == 0 || self.verbose {
            self.list(&indent, "impact", &finding.blocks)?;
            self.list(&indent, "fix", &remedies(&finding.remedies))?;
        }
        self.consequences(finding, depth)
    }

    fn evidence(&mut self, indent: &str, Evidence { seen, source }: &Evidence) -> io::Result<()> {
        if self.verbose {
            let source = self.styles.dim(format!("({})", escaped(source)));
            return writeln!(self.out, "{indent}    {} {source}", escaped(seen));
        }
        writeln!(self.out, "{indent}    {}", escaped(seen))
    }

    fn list(&mut self, indent: &str, title: &str, lines: &[String]) -> io::Result<()> {
        for (number, line) in lines.iter().enumerate() {
            let title = if number == 0 { title } else { "" };
            writeln!(self.out, "{indent}  {}  {}", self.styles.strong(format!("{title:13}")), escaped(line))?;
        }
        Ok(())
    }

    fn consequences(&mut self, finding: &Finding, depth: usize) -> io::Result<()> {
        let below = descendants(finding);
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
        self.list("", "also explains", &[format!("{} more: {}", below.len(), ids.join(", "))])
    }

    fn unknown(&mut self, diagnosis: &Diagnosis) -> io::Result<()> {
        if diagnosis.unknown.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "{}", self.styles.strong("Could not determine:"))?;
        for unknown in &diagnosis.unknown {
            writeln!(self.out, "    {}: {}", escaped(&unknown.what), escaped(&unknown.reason))?;
        }
        writeln!(self.out)
    }

    /// What was and was not examined: no problems found does not mean that everything is healthy.
    fn coverage(&mut self, diagnosis: &Diagnosis) -> io::Result<()> {
        let (examined, not) = (diagnosis.examined.join(", "), diagnosis.not_examined.join(", "));
        let line = format!("Examined: {examined}. Not examined: {not}.");
        writeln!(self.out, "{}", self.styles.dim(line))
    }

    fn verdict(&mut self, diagnosis: &Diagnosis) -> io::Result<()> {
        let cluster = escaped(&diagnosis.cluster);
        let Some(first) = diagnosis.causes.first() else {
            return match diagnosis.is_healthy() {
                true => writeln!(self.out, "{cluster}: {}", self.styles.good("no problems found")),
                false => {
                    writeln!(self.out, "{cluster}: no problems found, but not everything could be determined")
                }
            };
        };
        let count = diagnosis.causes.len();
        let (causes, explain) = if count == 1 { ("cause", "explains") } else { ("causes", "explain") };
        let follow = match (diagnosis.all().len() - count, self.verbose) {
            (0, _) => String::new(),
            (1, true) => format!(", which {explain} 1 more finding"),
            (1, false) => format!(", which {explain} 1 more finding (-v lists it)"),
            (more, true) => format!(", which {explain} {more} more findings"),
            (more, false) => format!(", which {explain} {more} more findings (-v lists them)"),
        };
        writeln!(self.out, "{cluster}: {count} {causes} found{follow}")?;
        writeln!(
            self.out,
            "For details, run: lifeboat explain {}. To plan a recovery, run: lifeboat recover plan.",
            first.id
        )
    }
}

/// All findings under a cause, at any depth.
fn descendants(finding: &Finding) -> Vec<&Finding> {
    let each = finding.consequences.iter().flat_map(|consequence| {
        let mut found = vec![consequence];
        found.append(&mut descendants(consequence));
        found
    });
    each.collect()
}

/// Remedies as text; the same one on several machines becomes one line.
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

/// Escapes text from machines.
fn escaped(text: &str) -> String {
    printable(text.as_bytes())
}
