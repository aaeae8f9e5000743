use super::Digest;

/// The digest of a folder with these files, which must come sorted by path: the hash of its entries by name, where a folder
/// inside is an entry with such a digest of its own.
#[must_use]
pub fn merkle(files: &[(&str, Digest)]) -> Digest {
    folder(files, 0)
}

/// The digest of the files of one folder, whose own path is the first `depth` bytes of each.
fn folder(files: &[(&str, Digest)], depth: usize) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("retune folder v1");
    let mut entry = |kind: u8, name: &str, digest: Digest| {
        hasher.update(&[kind]);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(digest.as_bytes());
    };
    let mut rest = files;
    while let Some((path, digest)) = rest.first() {
        let name = &path[depth..];
        let Some(end) = name.find('/') else {
            entry(b'f', name, *digest);
            rest = &rest[1..];
            continue;
        };
        let inner = depth + end + 1;
        let prefix = &path[..inner];
        // Sorting puts all files of a folder side by side.
        let count = rest.partition_point(|(path, _)| path.starts_with(prefix));
        entry(b'd', &name[..end], folder(&rest[..count], inner));
        rest = &rest[count..];
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_more_than_its_list_of_names() {
        let one = |text: &str| Digest::of(text.as_bytes());
        let flat = merkle(&[("a", one("x")), ("b", one("y"))]);
        assert_eq!(flat, merkle(&[("a", one("x")), ("b", one("y"))]));
        assert_ne!(flat, merkle(&[("a", one("y")), ("b", one("x"))]));
        assert_ne!(flat, merkle(&[("a/b", one("x")), ("b", one("y"))]));
        assert_ne!(merkle(&[("a/b", one("x"))]), merkle(&[("a", merkle(&[("b", one("x"))]))]));
    }
}
