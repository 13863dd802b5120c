use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use super::*;

/// Serves fixed answers by path on a port of this machine, one connection after the other.
fn serve(answers: Vec<(&str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let answers: HashMap<String, Vec<u8>> =
        answers.into_iter().map(|(path, answer)| (path.to_owned(), answer)).collect();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = answers.get(path).cloned().unwrap_or_else(|| response("404 Not Found", "", b"no"));
            let _ = stream.write_all(&answer);
        }
    });
    base
}

fn response(status: &str, header: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{header}\r\n");
    [head.as_bytes(), body].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    response("200 OK", "", body)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const CONTENT: &[u8] = b"handwritten digits";

fn set(package: Package) -> KnownSet {
    let sha256 = hexadecimal(&Sha256::digest(CONTENT)).leak();
    let file = KnownFile { name: "digits.bin", size: CONTENT.len() as u64, sha256 };
    KnownSet { name: "set", package, mirrors: &[], files: vec![file].leak() }
}

fn run(package: Package, folder: &Path, mirrors: &[String]) -> Result<Fetched, FetchError> {
    let mut last = 0;
    let mut progress = |progress: Progress<'_>| {
        assert!(progress.received > 0 && progress.url.starts_with("http://127.0.0.1"));
        last = progress.received;
    };
    let fetched = fetch_set(&set(package), folder, &Mirrors::Only(mirrors.to_vec()), &mut progress)?;
    assert_eq!(last > 0, !fetched.downloaded.is_empty());
    Ok(fetched)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("set")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_first_good_mirror_serves() {
    let good = gz(CONTENT);
    let base = serve(vec![
        ("/good/digits.bin.gz", ok(&good)),
        ("/wrong/digits.bin.gz", ok(&gz(b"other"))),
        ("/cut/digits.bin.gz", ok(&good)[..60 + good.len() / 2].to_vec()),
        ("/half/digits.bin.gz", ok(&good[..good.len() / 2])),
        ("/moved/digits.bin.gz", response("302 Found", "Location: /good/digits.bin.gz\r\n", b"")),
        ("/bomb/digits.bin.gz", ok(&gz(&vec![0; 1 << 22]))),
        ("/huge/digits.bin.gz", ok(&vec![0; (1 << 20) + 1000])),
    ]);
    let url = |name: &str| format!("{base}/{name}/");
    let bad = ["none", "wrong", "cut", "half", "bomb", "huge"];
    for last in ["good", "moved"] {
        let folder = tempfile::tempdir().unwrap();
        let mirrors: Vec<String> = bad.iter().chain([&last]).map(|name| url(name)).collect();
        let fetched = run(Package::Gzip, folder.path(), &mirrors).unwrap();
        assert_eq!(fetched.downloaded, ["digits.bin.gz"]);
        assert_eq!(std::fs::read(folder.path().join("set/digits.bin.gz")).unwrap(), good);
        // Nothing is asked for twice.
        assert_eq!(run(Package::Gzip, folder.path(), &[]).unwrap().kept, ["digits.bin.gz"]);
        std::fs::write(folder.path().join("set/digits.bin.gz"), b"damaged").unwrap();
        std::fs::write(folder.path().join("set/digits.bin"), b"old").unwrap();
        assert_eq!(run(Package::Gzip, folder.path(), &[url("good")]).unwrap().downloaded.len(), 1);
        assert_eq!(names_in(folder.path()), ["digits.bin.gz"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let mirrors: Vec<String> = bad.iter().map(|name| url(name)).collect();
    let error = run(Package::Gzip, folder.path(), &mirrors).unwrap_err();
    let FetchError::AllFailed { attempts, .. } = &error else { panic!("{error}") };
    assert_eq!(attempts.len(), bad.len());
    assert!(attempts[0].to_string().contains("404"), "{error}");
    assert!(matches!(&attempts[2], FetchError::Http { .. }), "{error}");
    let other = hexadecimal(&Sha256::digest(b"other"));
    let text = error.to_string();
    for part in [&other, &url("wrong"), set(Package::Gzip).files[0].sha256] {
        assert!(text.contains(part), "{text}");
    }
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn archives_are_unpacked() {
    let archive = |name: &str, content: &[u8]| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        };
        add("folder/readme.html", b"more");
        add(name, content);
        gz(&builder.into_inner().unwrap())
    };
    let good = archive("folder/digits.bin", CONTENT);
    let base = serve(vec![
        ("/good/a.tar.gz", ok(&good)),
        ("/cut/a.tar.gz", ok(&good[..good.len() / 2])),
        ("/other/a.tar.gz", ok(&archive("folder/digits.bin", b"handwritten digitS"))),
        ("/long/a.tar.gz", ok(&archive("folder/digits.bin", &[CONTENT, b"!"].concat()))),
        ("/none/a.tar.gz", ok(&archive("folder/else.bin", CONTENT))),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let mirrors = |names: &[&str]| names.iter().map(|name| format!("{base}/{name}")).collect::<Vec<_>>();
    let bad = ["cut", "other", "long", "none"];
    let error = run(Package::Archive("a.tar.gz"), folder.path(), &mirrors(&bad)).unwrap_err();
    assert!(matches!(&error, FetchError::AllFailed { attempts, .. } if attempts.len() == 4), "{error}");
    assert!(names_in(folder.path()).is_empty());
    let fetched = run(Package::Archive("a.tar.gz"), folder.path(), &mirrors(&["cut", "good"])).unwrap();
    assert_eq!(fetched.downloaded, ["digits.bin"]);
    assert_eq!(std::fs::read(folder.path().join("set/digits.bin")).unwrap(), CONTENT);
    assert_eq!(run(Package::Archive("a.tar.gz"), folder.path(), &[]).unwrap().kept, ["digits.bin"]);
}

#[test]
fn the_table_is_sound() {
    for set in &SETS {
        assert!(set.mirrors.len() >= 2 && set.mirrors.iter().all(|url| url.ends_with('/')));
        assert!(set.files.iter().all(|file| file.sha256.len() == 64 && file.size > 0));
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["digits", "mnits"] {
        let error = fetch(name, folder.path(), &Mirrors::Public, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("built in"));
    }
    assert!(names().eq(["mnist", "fashion-mnist", "cifar10"]));
}
