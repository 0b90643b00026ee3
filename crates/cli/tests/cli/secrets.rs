//! BACKUP-3: canaries of everything secret are looked for in everything that is left behind.

use std::fs;

use crate::world::{MEDIA, NAME, OTHER, PASSWORD, TEXT, World, files};

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect()
}

/// The base64 of what stands whole in any text that holds these bytes, at each of three offsets.
fn base64(bytes: &[u8]) -> Vec<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..3)
        .map(|skip| {
            bytes[skip..]
                .chunks_exact(3)
                .flat_map(|three| {
                    let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
                    [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])
                })
                .collect()
        })
        .collect()
}

fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec(), hex(secret)];
    forms.push(hex(secret).to_ascii_uppercase());
    forms.push(secret.iter().flat_map(|byte| [*byte, 0]).collect());
    forms.extend(base64(secret));
    forms
}

fn holds(text: &[u8], form: &[u8]) -> bool {
    text.windows(form.len()).any(|window| window == form)
}

/// BACKUP-3. What is looked through: every object of the store, the vault's data, the home's state,
/// every output, and the temporary folder. The home's `config.json` may name the source, `device/`
/// holds the key and the login by design (keys.md), and the vault's own folder holds the login that
/// an embedded vault keeps for its person.
#[test]
fn no_canary_is_found_in_anything_that_is_left_behind() {
    let world = World::new();
    let vault = "--embedded-vault vault";
    let mut told = Vec::new();
    for line in [
        format!(
            "setup --home home --source chats --store store {vault} --password-file pw \
             --recovery-key --recovery-key-file key"
        ),
        format!("backup --home home {vault}"),
        format!("status --home home {vault}"),
        "verify --home home --json".to_owned(),
        format!("restore --home new --store store {vault} --password-file wrong --to back"),
        format!("restore --home new --store store {vault} --password-file pw --to back"),
        format!("password change --home home {vault} --password-file other --json"),
        "restore --home new2 --store none --recovery-key-file key --to back2".to_owned(),
        "key card card.txt --home home".to_owned(),
    ] {
        let ran = world.run(&line);
        told.push((line.clone(), ran.out.into_bytes()));
        told.push((line, ran.err.into_bytes()));
    }
    world.same("back");
    for folder in ["store", "vault", "home/state", "new/state", "tmp"] {
        for path in files(&world.at(folder)) {
            if !path.ends_with("login-me") {
                let name = path.display().to_string();
                let mut bytes = fs::read(&path).unwrap();
                bytes.extend(name.as_bytes());
                told.push((name, bytes));
            }
        }
    }
    assert!(told.len() > 25, "{}", told.len());
    let digits = world.slip(&[]);
    let grouped = fs::read_to_string(world.at("key")).unwrap();
    let key: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    let login = fs::read_to_string(world.at("vault/login-me")).unwrap();
    let secrets: [&[u8]; 9] = [
        TEXT.as_bytes(),
        MEDIA,
        NAME.as_bytes(),
        PASSWORD.as_bytes(),
        OTHER.as_bytes(),
        digits.as_bytes(),
        grouped.trim().as_bytes(),
        &key,
        login.trim().as_bytes(),
    ];
    // The search finds what is there to be found.
    assert!(holds(
        &fs::read(world.at("chats/notes.txt")).unwrap(),
        &forms(secrets[0])[0]
    ));
    for (index, secret) in secrets.iter().enumerate() {
        assert!(secret.len() >= 16, "canary {index}");
        for (number, form) in forms(secret).iter().enumerate() {
            for (place, bytes) in &told {
                assert!(
                    !holds(bytes, form),
                    "canary {index} in form {number} is in {place}"
                );
            }
        }
    }
}
