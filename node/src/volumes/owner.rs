//! Who runs in a container: images name a user by number or by a name of their own.

use std::{fs, os::unix::fs::chown, path::Path};

/// A user as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What an image's `USER` says: numbers, or a name to be looked up in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    Number(User),
    Name { user: &'a str, gid: Option<u32> },
}

/// Reads `USER`: empty, `1000`, `1000:1000`, `app`, `app:1000`. A group by name is left to the
/// user's own.
pub(crate) fn read(user: &str) -> Named<'_> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, group.parse().ok()),
        None => (user, None),
    };
    match user {
        "" | "root" => Named::Number(User {
            uid: 0,
            gid: group.unwrap_or(0),
        }),
        user => match user.parse() {
            Ok(uid) => Named::Number(User {
                uid,
                gid: group.unwrap_or(0),
            }),
            Err(_) => Named::Name { user, gid: group },
        },
    }
}

/// Looks a name up in an image's `/etc/passwd`.
pub(crate) fn look_up(passwd: &str, user: &str, gid: Option<u32>) -> Option<User> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(user))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let own = fields.next()?.parse().ok()?;
    Some(User {
        uid,
        gid: gid.unwrap_or(own),
    })
}

/// Gives a directory or file to a user. An agent that is not root cannot, and what it made may be
/// read and written by all.
pub(super) fn give(path: &Path, uid: u32, gid: u32) -> bool {
    let given = chown(path, Some(uid), Some(gid));
    if let Err(error) = &given {
        tracing::debug!(path = %path.display(), "cannot change the owner: {error}");
    }
    given.is_ok() && fs::metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_images_are_numbers_or_names() {
        let number = |uid, gid| Named::Number(User { uid, gid });
        assert_eq!(read(""), number(0, 0));
        assert_eq!(read("root"), number(0, 0));
        assert_eq!(read("1000"), number(1000, 0));
        assert_eq!(read("1000:1001"), number(1000, 1001));
        let named = |user, gid| Named::Name { user, gid };
        assert_eq!(read("app"), named("app", None));
        assert_eq!(read("app:7"), named("app", Some(7)));
        assert_eq!(read("app:staff"), named("app", None));
        let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\nbroken:x\n";
        assert_eq!(
            look_up(passwd, "app", None),
            Some(User {
                uid: 1000,
                gid: 1001
            })
        );
        assert_eq!(
            look_up(passwd, "app", Some(5)),
            Some(User { uid: 1000, gid: 5 })
        );
        assert_eq!(look_up(passwd, "ap", None), None);
        assert_eq!(look_up(passwd, "broken", None), None);
    }
}
