//! Signatures, computed once more by the rules of "AWS Signature Version 4 for API requests".

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use sha2::{Digest, Sha256};

use super::ACCESS_KEY_ID;

/// Checks the signature of a POST to `/` in us-east-1 and returns the names of the headers that it covers.
///
/// # Errors
/// What is wrong with it.
pub fn check(service: &str, headers: &HeaderMap, body: &[u8], secret: &str) -> Result<Vec<String>, String> {
    let text = |name: &str| {
        let value = headers.get(name).ok_or_else(|| format!("there is no header {name}"))?;
        value.to_str().map(str::to_owned).map_err(|error| error.to_string())
    };
    let hash = hex(&Sha256::digest(body));
    if text("x-amz-content-sha256")? != hash {
        return Err("the hash is of another body".to_owned());
    }
    let authorization = text("authorization")?;
    let parts = authorization.split_once(", Signature=").and_then(|(before, found)| {
        let (credential, names) = before.split_once(", SignedHeaders=")?;
        Some((credential, names, found))
    });
    let (credential, names, found) = parts.ok_or_else(|| format!("{authorization:?} is no authorization"))?;
    let time = text("x-amz-date")?;
    let scope = format!("{}/us-east-1/{service}/aws4_request", &time[..8]);
    if credential != format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}") {
        return Err(format!("{credential:?} is another credential"));
    }
    let names: Vec<String> = names.split(';').map(str::to_owned).collect();
    if found != signature(headers, &hash, &names, &time, &scope, secret) {
        return Err("the signature is another".to_owned());
    }
    Ok(names)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signature(headers: &HeaderMap, hash: &str, names: &[String], time: &str, scope: &str, secret: &str) -> String {
    let line = |name: &String| format!("{name}:{}\n", headers[name].to_str().unwrap().trim());
    let lines: String = names.iter().map(line).collect();
    let request = format!("POST\n/\n\n{lines}\n{}\n{hash}", names.join(";"));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key = format!("AWS4{secret}").into_bytes();
    let key = scope.split('/').fold(key, |key, text| mac(&key, text));
    hex(&mac(&key, &text))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
