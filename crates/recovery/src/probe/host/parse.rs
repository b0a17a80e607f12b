//! Parses the output of `look.sh`, which is untrusted: a malformed value makes its fact unknown, and never changes
//! another one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error_text::one_line;
use crate::facts::{Disk, KubeletHealth, Leftovers, PodProcess, ServiceState, ToldBy, starts_at_boot};

/// Maximum size of the output; a few kilobytes are usual.
const LARGEST: usize = 1 << 20;

type Result<T> = std::result::Result<T, String>;

/// What stands between the script's first line and its last one.
pub(super) fn body(text: &str) -> Result<&str> {
    if text.len() > LARGEST {
        return Err(format!("its answer is {} bytes long", text.len()));
    }
    let from_start = text.split_once("lifeboat-look\n").map(|(_, rest)| rest);
    let from_start = from_start.ok_or("its answer has no beginning")?;
    from_start.strip_suffix("end\n").ok_or_else(|| "its answer has no end".into())
}

/// The lines of an answer, by their first word.
pub(super) struct ScriptOutput<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> ScriptOutput<'a> {
    pub fn of(body: &'a str) -> Self {
        let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in body.lines() {
            let (key, value) = line.split_once('\t').unwrap_or((line, ""));
            lines.entry(key).or_default().push(value);
        }
        Self(lines)
    }

    fn all(&self, key: &str) -> &[&'a str] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    fn one(&self, key: &str) -> Result<&'a str> {
        match self.all(key) {
            [one] => Ok(one),
            lines => Err(format!("{} lines with its {key} instead of one", lines.len())),
        }
    }

    /// `/etc/machine-id`: 32 hexadecimal digits.
    pub fn machine_id(&self) -> Result<String> {
        let id = self.one("machine-id")?;
        let fits = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fits { Ok(id.to_ascii_lowercase()) } else { Err(format!("not a machine id: {:?}", one_line(id))) }
    }

    /// `boot_id`: a UUID.
    pub fn boot_id(&self) -> Result<String> {
        let id = self.one("boot-id")?;
        let fits = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if fits { Ok(id.into()) } else { Err(format!("not a boot id: {:?}", one_line(id))) }
    }

    /// `uname -sm`: kernel and architecture.
    pub fn platform(&self) -> Result<String> {
        let platform = self.one("platform")?;
        let is_word =
            |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        let fits =
            platform.len() < 40 && platform.split(' ').count() == 2 && platform.split(' ').all(is_word);
        if fits {
            Ok(platform.into())
        } else {
            Err(format!("not what uname prints: {:?}", one_line(platform)))
        }
    }

    /// The machine's clock at the beginning and at the end, in seconds since 1970.
    pub fn clock(&self) -> Result<(f64, f64)> {
        match self.all("clock") {
            [begin, end] => Ok((seconds(begin)?, seconds(end)?)),
            lines => Err(format!("{} times instead of two", lines.len())),
        }
    }

    /// The file systems that hold so many paths.
    pub fn disks(&self, paths: usize) -> Result<BTreeMap<PathBuf, Disk>> {
        let lines = self.all("disk");
        if lines.len() != paths {
            return Err(format!("{} file systems for {paths} paths", lines.len()));
        }
        lines.iter().map(|line| disk(line)).collect()
    }

    /// The states of so many units, in their order.
    pub fn units(&self, units: &[String]) -> Result<Vec<ServiceState>> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        // What is no property is a complaint; it matters only where properties are missing.
        let (lines, complaints): (Vec<&str>, Vec<&str>) =
            self.all("unit").iter().partition(|line| line.is_empty() || is_property(line));
        let blocks: Vec<&[&str]> =
            lines.split(|line| line.is_empty()).filter(|block| !block.is_empty()).collect();
        let fences = self.all("fence");
        if blocks.len() != units.len() || fences.len() != units.len() {
            return Err(format!("systemctl does not report: {}", one_line(&complaints.join(" "))));
        }
        blocks.iter().zip(fences).map(|(block, fence)| unit(block, yes(fence)?)).collect()
    }

    /// The states of so many static pods, in their order.
    pub fn pods(&self, pods: usize) -> Result<Vec<ServiceState>> {
        let lines = self.all("pod");
        if lines.len() != pods {
            return Err(format!("{} answers for {pods} static pods", lines.len()));
        }
        let mut pods: Vec<ServiceState> = lines.iter().map(|line| pod(line)).collect::<Result<_>>()?;
        for line in self.all("process") {
            let unfit = || format!("not a process of a static pod: {:?}", one_line(line));
            let (number, rest) = line.split_once('\t').ok_or_else(unfit)?;
            let pod = number.parse().ok().and_then(|number: usize| pods.get_mut(number)).ok_or_else(unfit)?;
            pod.processes.push(process(rest).ok_or_else(unfit)?);
        }
        Ok(pods)
    }

    /// What recoveries left there; what is not understood is left out.
    pub fn leftovers(&self) -> Leftovers {
        let mut leftovers = Leftovers::default();
        for line in self.all("left") {
            let Some((kind, path)) = line.split_once('\t') else { continue };
            let shown = path.starts_with('/') && !path.chars().any(char::is_control);
            match kind {
                "lock" => leftovers.locked = true,
                "sent" if shown => leftovers.sent.push(path.into()),
                "aside" if shown => leftovers.aside.push(path.into()),
                _ => {}
            }
        }
        leftovers
    }

    /// What the kubelet says of itself.
    pub fn kubelet(&self) -> Result<KubeletHealth> {
        match self.all("kubelet") {
            [] => Err("the machine has none of curl, wget and bash to ask with".into()),
            [said] => Ok(KubeletHealth { ok: said.trim() == "ok", detail: one_line(said) }),
            lines => Err(format!("{} answers of the kubelet", lines.len())),
        }
    }
}

/// `date +%s.%N`; what does not know `%N` leaves it as it is, or out.
fn seconds(text: &str) -> Result<f64> {
    let unfit = || format!("not a time: {:?}", one_line(text));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || seconds.len() > 11 || !digits(seconds) {
        return Err(unfit());
    }
    match fraction {
        // Without a fraction, the middle of the second is meant.
        "" | "%N" | "N" => format!("{seconds}.5"),
        fraction if fraction.len() <= 9 && digits(fraction) => format!("{seconds}.{fraction}"),
        _ => return Err(unfit()),
    }
    .parse()
    .map_err(|_| unfit())
}

/// The mount point in a line of `df -Pk`, and how many bytes can still be written there.
pub(in crate::probe) fn free(line: &str) -> Option<(PathBuf, u64)> {
    let line = df(line)?;
    Some((line.mount.into(), line.available.saturating_mul(1024)))
}

/// How it is mounted, its line of `df -Pk`, and its line of `df -Pi`.
fn disk(line: &str) -> Result<(PathBuf, Disk)> {
    let unfit = || format!("not what df prints: {}", one_line(line));
    let mut parts = line.split('\t');
    let (Some(mode), Some(blocks), Some(inodes), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(unfit());
    };
    let blocks = df(blocks).ok_or_else(unfit)?;
    let inodes = df(inodes).filter(|inodes| inodes.mount == blocks.mount && inodes.total > 0);
    let read_only = match mode {
        "ro" => true,
        "rw" => false,
        other => return Err(format!("{} is mounted neither ro nor rw: {other:?}", one_line(blocks.mount))),
    };
    let disk = Disk {
        size: blocks.total.saturating_mul(1024),
        available: blocks.available.saturating_mul(1024),
        free_inodes: inodes.map(|inodes| inodes.available),
        read_only,
    };
    Ok((blocks.mount.into(), disk))
}

/// A line of `df -P`: name, total, used, available, per cent, mount point. Only the name and the mount point can hold
/// spaces.
struct Df<'a> {
    total: u64,
    available: u64,
    mount: &'a str,
}

fn df(line: &str) -> Option<Df<'_>> {
    let (front, mount) = line.split_once("% ").or_else(|| line.split_once(" - "))?;
    let mut words = front.split_whitespace().rev();
    // What stands before the sign; nothing does where df has no number.
    if line.split_once("% ").is_some() {
        words.next()?.parse::<u64>().ok()?;
    }
    let available = words.next()?.parse().ok()?;
    let _used: u64 = words.next()?.parse().ok()?;
    let total = words.next()?.parse().ok()?;
    let mount = mount.trim_start();
    let shown = mount.starts_with('/') && !mount.chars().any(char::is_control);
    shown.then_some(Df { total, available, mount })
}

fn yes(word: &str) -> Result<bool> {
    match word {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("neither yes nor no: {:?}", one_line(other))),
    }
}

fn is_property(line: &str) -> bool {
    let name = line.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

fn unit(block: &[&str], fenced: bool) -> Result<ServiceState> {
    let mut properties = BTreeMap::new();
    for (name, value) in block.iter().filter_map(|line| line.split_once('=')) {
        if properties.insert(name, value).is_some() {
            return Err(format!("systemctl reports {name} twice"));
        }
    }
    let word = |name: &str| {
        let value = properties.get(name).copied().unwrap_or_default();
        let fits = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if fits { Ok(value) } else { Err(format!("not a value of {name}: {:?}", one_line(value))) }
    };
    let active = word("ActiveState")?;
    if active.is_empty() {
        return Err("systemctl reports no ActiveState".into());
    }
    let sub = match word("LoadState")? {
        "loaded" | "" => word("SubState")?,
        other => other,
    };
    Ok(ServiceState {
        active: active.into(),
        sub: sub.into(),
        enabled: starts_at_boot(word("UnitFileState")?),
        fenced,
        // systemd before 235 does not count them.
        restarts: properties.get("NRestarts").and_then(|count| count.parse().ok()).unwrap_or(0),
        processes: Vec::new(),
    })
}

fn pod(line: &str) -> Result<ServiceState> {
    let words: Vec<&str> = line.split('\t').collect();
    let [manifest, fenced, process] = words.as_slice() else {
        return Err(format!("not the state of a static pod: {:?}", one_line(line)));
    };
    Ok(ServiceState {
        active: if yes(process)? { "active" } else { "inactive" }.into(),
        sub: String::new(),
        enabled: yes(manifest)?,
        fenced: yes(fenced)?,
        restarts: 0,
        processes: Vec::new(),
    })
}

/// How it is told, its PID, what it is.
fn process(line: &str) -> Option<PodProcess> {
    let mut words = line.splitn(3, '\t');
    let told_by = match words.next()? {
        "pod" => ToldBy::Pod,
        "flags" => ToldBy::Flags,
        "unclear" => ToldBy::Unclear,
        "other" => ToldBy::Other,
        _ => return None,
    };
    let pid = words.next()?.parse().ok()?;
    Some(PodProcess { told_by, pid, what: one_line(words.next()?) })
}

#[cfg(test)]
mod tests;
