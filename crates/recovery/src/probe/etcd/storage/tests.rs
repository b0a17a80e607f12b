use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use super::*;
use crate::host::LocalHost;
use crate::inventory::StaticPod;

/// What a machine says of a unit, behind a data dir in /var/lib/etcd.
fn unit(lines: &[&str]) -> Storage {
    let head = [
        "place\tdata\tdirectory\t/var/lib/etcd\t",
        "df\tdata\t/dev/vda1 100 50 50 50% /var",
        "place\tscratch\tabsent\t/var/lib/lifeboat\t",
        "df\tscratch\t/dev/vda1 100 50 50 50% /var",
    ];
    let body: String = head.iter().chain(lines).map(|line| format!("{line}\n")).collect();
    Said::of(&body).storage(&spec("/var/lib/etcd", Service::Unit("etcd.service".into()))).unwrap()
}

fn spec(data_dir: &str, service: Service) -> MemberSpec {
    MemberSpec {
        host: "m1".into(),
        client_url: "https://10.0.0.1:2379".into(),
        peer_url: "https://10.0.0.1:2380".into(),
        data_dir: data_dir.into(),
        wal_dir: None,
        service,
        owner: None,
    }
}

fn exec(line: &str) -> String {
    let program = line.split(' ').next().unwrap();
    format!(
        "unit\tExecStart={{ path={program} ; argv[]={line} ; ignore_errors=no ; start_time=[n/a] ; pid=0 }}"
    )
}

#[test]
fn a_unit_says_where_its_data_is() {
    let loaded = "unit\tLoadState=loaded";
    let cases: [(&[&str], &str, Option<&str>); 5] = [
        (&[loaded, &exec("/usr/bin/etcd --name m1 --data-dir=/srv/etcd")], "/srv/etcd", None),
        (
            &[
                loaded,
                &exec("/usr/bin/etcd"),
                "unit-variable\tETCD_DATA_DIR=\"/srv/etcd\"",
                "unit-variable\tETCD_WAL_DIR=/wal",
            ],
            "/srv/etcd",
            Some("/wal"),
        ),
        (
            &[
                loaded,
                &exec("/usr/bin/etcd $ETCD_OPTS"),
                "unit-variable\tETCD_OPTS=--data-dir /srv/etcd --wal-dir=/wal/etcd",
            ],
            "/srv/etcd",
            Some("/wal/etcd"),
        ),
        (
            &[loaded, &exec("/usr/bin/etcd --data-dir ${DIR}/etcd"), "unit-variable\tDIR=/srv"],
            "/srv/etcd",
            None,
        ),
        // Flags and variables count for nothing beside a config file.
        (
            &[
                loaded,
                &exec("/usr/bin/etcd --config-file=/etc/etcd.yaml --data-dir=/no"),
                "config-file\t/etc/etcd.yaml",
                "config\tname: m1",
                "config\tdata-dir: /srv/etcd",
                "config\twal-dir: /wal",
            ],
            "/srv/etcd",
            Some("/wal"),
        ),
    ];
    for (lines, data, wal) in cases {
        let storage = unit(lines);
        let [named] = storage.named.as_slice() else { panic!("{lines:?}: {storage:?}") };
        assert_eq!(
            (named.data_dir.as_path(), named.wal_dir.as_deref()),
            (Path::new(data), wal.map(Path::new)),
            "{lines:?}"
        );
        let said =
            storage.conflict("m1", &spec("/var/lib/etcd", Service::Unit("etcd.service".into()))).unwrap();
        assert!(said.contains("/srv/etcd") && said.contains("/var/lib/etcd"), "{said}");
    }
    // Without a data dir it is NAME.etcd where the unit works.
    let default = unit(&[loaded, &exec("/usr/bin/etcd --name m1"), "unit\tWorkingDirectory=/var/lib"]);
    assert_eq!(default.named[0].data_dir, Path::new("/var/lib/m1.etcd"));
}

#[test]
fn a_unit_that_is_not_understood_says_nothing_and_why() {
    let loaded = "unit\tLoadState=loaded";
    let cases: [(&[&str], &str); 5] = [
        (&["unit\tLoadState=not-found"], "not-found"),
        (&["unit\tFailed to connect to bus"], "Failed to connect"),
        (&[loaded, &exec("/usr/bin/docker start -a etcd")], "does not start etcd itself"),
        (&[loaded, &exec("/usr/local/bin/etcd"), "script\t/usr/local/bin/etcd"], "is a script"),
        (
            &[loaded, &exec("/usr/bin/etcd --config-file /etc/gone.yaml"), "config-file\t/etc/gone.yaml"],
            "cannot be read",
        ),
    ];
    for (lines, why) in cases {
        let storage = unit(lines);
        assert_eq!(storage.named, [], "{lines:?}");
        assert!(storage.unnamed().is_some_and(|said| said.contains(why)), "{lines:?}: {:?}", storage.unread);
    }
}

#[test]
fn a_flag_that_the_program_does_not_know_is_a_fact() {
    let lines =
        ["unit\tLoadState=loaded", "program\t/usr/bin/etcd\tetcd Version: 3.6.16", "unknown-flag\t-no-such"];
    let program = unit(&lines).program.unwrap();
    assert_eq!(
        (program.version.as_str(), program.unknown_flag.as_deref()),
        ("etcd Version: 3.6.16", Some("-no-such"))
    );
}

/// A drop-in that was written and not yet loaded, or a process from before it: both are asked.
#[test]
fn a_process_may_work_elsewhere_than_its_unit_says() {
    let storage = unit(&[
        "unit\tLoadState=loaded",
        &exec("/usr/bin/etcd --data-dir=/var/lib/etcd"),
        "process\t77\t/",
        "argument\t/usr/bin/etcd",
        "argument\t--data-dir=/var/lib/etcd-new",
    ]);
    let said = storage.conflict("m1", &spec("/var/lib/etcd", Service::Unit("etcd.service".into()))).unwrap();
    assert_eq!(said, "process 77 keeps m1's data in /var/lib/etcd-new; the inventory says /var/lib/etcd");
}

/// The script itself, on directories of this machine.
#[tokio::test]
async fn links_and_mounts_are_seen_and_the_manifest_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let at = |name: &str| root.join(name).display().to_string();
    fs::create_dir_all(root.join("disk/etcd/member/snap")).unwrap();
    fs::write(root.join("disk/etcd/member/snap/db"), [0; 4096]).unwrap();
    symlink(root.join("disk/etcd"), root.join("etcd")).unwrap();
    symlink(root.join("not/there"), root.join("dangling")).unwrap();
    let manifest = format!(
        "kind: Pod\nspec:\n  containers:\n  - command: [etcd, --name=m1, --data-dir=/var/lib/etcd]\n    volumeMounts:\n    \
         - {{mountPath: /var/lib/etcd, name: data}}\n  volumes:\n  - {{name: data, hostPath: {{path: {}}}}}\n",
        at("disk/etcd")
    );
    fs::write(root.join("etcd.yaml"), manifest).unwrap();
    let pod = Service::StaticPod(StaticPod {
        manifest: root.join("etcd.yaml"),
        process: "lifeboat-test-etcd".into(),
    });
    let etcd = |data_dir: &str| {
        let mut spec = spec(&at(data_dir), pod.clone());
        let Service::StaticPod(pod) = &mut spec.service else { panic!() };
        pod.process = "etcd".into();
        spec
    };
    let collect = async |spec: &MemberSpec| collect("m1", spec, &LocalHost::new("m1")).await;

    let linked = collect(&etcd("etcd")).await;
    let linked = linked.get().unwrap_or_else(|| panic!("{linked:?}"));
    assert_eq!(linked.data_dir.real, root.join("disk/etcd"));
    assert_eq!((&linked.data_dir.kind, linked.data_dir.db_bytes), (&PlaceKind::Directory, Some(4096)));
    assert_eq!(linked.conflict("m1", &etcd("etcd")), None, "{linked:?}");
    assert_eq!(linked.dirs("m1", &etcd("etcd")).unwrap().data, root.join("disk/etcd"));

    let dangling = collect(&etcd("dangling")).await;
    let dangling = dangling.get().unwrap();
    assert_eq!(dangling.data_dir.kind, PlaceKind::Dangling(root.join("dangling")));
    let refused = dangling.dirs("m1", &etcd("dangling")).unwrap_err().join("; ");
    assert!(refused.contains("is a symbolic link to") && refused.contains("not/there"), "{refused}");

    // What the inventory names is gone, and the manifest keeps the data elsewhere.
    let moved = collect(&etcd("gone")).await;
    let said = moved.get().unwrap().conflict("m1", &etcd("gone")).unwrap();
    assert!(said.contains(&at("disk/etcd")) && said.contains(&at("gone")), "{said}");

    // What stands there is the mount point of a disk that the machine mounts at its boot.
    let fstab = root.join("fstab").display().to_string();
    fs::write(&fstab, format!("/dev/vdb {} ext4 defaults 0 2\n", at("disk"))).unwrap();
    let unmounted = ask("m1", &etcd("etcd"), &LocalHost::new("m1"), &fstab).await.unwrap();
    assert_eq!(unmounted.data_dir.kind, PlaceKind::Unmounted(root.join("disk")));
    let refused = unmounted.dirs("m1", &etcd("etcd")).unwrap_err().join("; ");
    assert!(refused.contains("it is not mounted: mount it"), "{refused}");

    for (number, below) in ["member/wal", "member/snap", "member"].into_iter().enumerate() {
        let (path, elsewhere) = (root.join("disk/etcd").join(below), root.join(format!("elsewhere{number}")));
        fs::create_dir_all(&path).unwrap();
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let seen = collect(&etcd("etcd")).await;
        let refused = seen.get().unwrap().dirs("m1", &etcd("etcd")).unwrap_err().join("; ");
        assert!(refused.contains(&format!("{below} is a mount point or symbolic link")), "{refused}");
        fs::remove_file(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
    }
}
