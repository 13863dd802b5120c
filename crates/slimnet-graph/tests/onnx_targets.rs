//! What stands at the path that a network is written to.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use slimnet_graph::onnx::{read_file, write_file};
use slimnet_graph::zoo::{ZooOptions, build};

#[test]
fn a_link_stays_a_link_and_its_file_keeps_its_mode() {
    let network = build("lenet-300-100", &ZooOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("real.onnx"), folder.path().join("link.onnx"));
    fs::write(&file, b"old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, &link).unwrap();
    write_file(&network, &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(read_file(&file).unwrap().nodes().count(), network.nodes().count());
}

#[test]
fn what_is_no_ordinary_file_is_refused_and_stays() {
    let network = build("lenet-300-100", &ZooOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // A socket stands for devices and pipes, which a rename would replace as well.
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let refused = write_file(&network, &path).unwrap_err().to_string();
    assert!(refused.contains("no ordinary file"), "{refused}");
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}
