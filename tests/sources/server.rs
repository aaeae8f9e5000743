//! A server on loopback that says exactly what a test wants it to say, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is answered.
pub struct Reply {
    status: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The length that it says it has, where it lies.
    length: Option<usize>,
}

pub fn reply(body: impl Into<Vec<u8>>) -> Reply {
    Reply { status: "200 OK", headers: Vec::new(), body: body.into(), length: None }
}

impl Reply {
    pub fn status(mut self, status: &'static str) -> Self {
        self.status = status;
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn says(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }
}

pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers each request by a function of it and of its number, from 0.
    pub fn new(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or_default() == 0 {
                        return;
                    }
                    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    let mut headers = BTreeMap::new();
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or_default() == 0 || line.trim().is_empty() {
                            break;
                        }
                        if let Some((name, value)) = line.split_once(':') {
                            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                        }
                    }
                    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
                    let mut body = vec![0; length];
                    let _ = reader.read_exact(&mut body);
                    let request = Asked { path, headers };
                    let number = {
                        let mut seen = seen.lock().expect("no test panicked with it");
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    let reply = answer(&request, number);
                    let length = reply.length.unwrap_or(reply.body.len());
                    let mut head = format!("HTTP/1.1 {}\r\ncontent-length: {length}\r\nconnection: close\r\n", reply.status);
                    reply.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
                    let mut stream = stream;
                    let _ = stream
                        .write_all(format!("{head}\r\n").as_bytes())
                        .and_then(|()| if line.starts_with("HEAD") { Ok(()) } else { stream.write_all(&reply.body) });
                });
            }
        });
        Self { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panicked with it").clone()
    }
}
