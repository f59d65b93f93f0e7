//! The control server and its client over a real unix socket.

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod fake_daemon;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fake_daemon::{FakeApi, FakeDaemon, Trouble, route};
use pipit::control::client::{Client, ClientError};
use pipit::control::protocol::{ErrorBody, ErrorReason, PeerList, ProblemList, RouteItem, path};

const MANY: u32 = 100_000;

#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), future)
            .await
            .expect("done in time")
    })
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
async fn prefixes(client: &mut Client, query: &str) -> Result<Vec<RouteItem>, ClientError> {
    let mut lines = client.lines(query).await?;
    let mut found = Vec::new();
    while let Some(line) = lines.next().await? {
        found.push(serde_json::from_slice(&line).unwrap());
    }
    Ok(found)
}

/// One raw request on a connection of its own, and everything that comes back.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn raw(daemon: &FakeDaemon, request: &str) -> String {
    let mut stream = UnixStream::connect(&daemon.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn get(daemon: &FakeDaemon, target: &str) -> (u16, ErrorBody) {
    let answer = raw(
        daemon,
        &format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
    );
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    (
        status,
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")),
    )
}

#[test]
fn a_hundred_thousand_routes_arrive_complete_and_in_order() {
    let daemon = FakeDaemon::start(FakeApi {
        route_count: MANY,
        ..FakeApi::default()
    });
    let found = block_on(async {
        let mut client = Client::connect(&daemon.socket).await.unwrap();
        prefixes(&mut client, path::ROUTES).await.unwrap()
    });
    assert_eq!(found.len(), MANY as usize);
    for (index, found) in (0..).zip(&found) {
        assert_eq!(*found, route(index));
    }
}

#[test]
fn pages_without_items_are_not_the_end() {
    let api = FakeApi {
        route_count: 1000,
        trouble: Trouble::EmptyPages,
        ..FakeApi::default()
    };
    let daemon = FakeDaemon::start(api);
    let found = block_on(async {
        let mut client = Client::connect(&daemon.socket).await.unwrap();
        prefixes(&mut client, path::ROUTES).await.unwrap()
    });
    // Every empty page stands for one prefix that was scanned and not selected.
    assert_eq!(found.len(), 1000 - 3);
    assert_eq!(found.last().unwrap().prefix, route(999).prefix);
}

#[test]
fn a_client_that_stops_reading_costs_a_few_pages_and_delays_nobody() {
    let api = FakeApi {
        route_count: MANY,
        ..FakeApi::default()
    };
    let pages = api.pages.clone();
    let daemon = FakeDaemon::start(api);
    block_on(async {
        let mut slow = Client::connect(&daemon.socket).await.unwrap();
        let mut lines = slow.lines(path::ROUTES).await.unwrap();
        assert!(lines.next().await.unwrap().is_some());

        // The server has one thread, so each answer to somebody else proves that it was free to go on with ours.
        let mut quick = Client::connect(&daemon.socket).await.unwrap();
        let (mut seen, mut unchanged) = (0, 0);
        while unchanged < 20 {
            let list: PeerList = quick.document(path::PEERS).await.unwrap();
            assert_eq!(list.items.len(), 2);
            let now = pages.load(Ordering::SeqCst);
            unchanged = if now == seen { unchanged + 1 } else { 0 };
            seen = now;
        }
        assert!(
            seen < 30,
            "{seen} of 391 pages were fetched for a client that does not read"
        );

        let mut count = 1;
        while lines.next().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, MANY, "once it reads again it gets the rest");
    });
}

#[test]
fn a_client_that_goes_away_ends_its_list() {
    let api = FakeApi {
        route_count: u32::MAX >> 8,
        ..FakeApi::default()
    };
    let pages = api.pages.clone();
    let daemon = FakeDaemon::start(api);
    block_on(async {
        let mut gone = Client::connect(&daemon.socket).await.unwrap();
        let mut lines = gone.lines(path::ROUTES).await.unwrap();
        assert!(lines.next().await.unwrap().is_some());
        drop(gone);
        let mut other = Client::connect(&daemon.socket).await.unwrap();
        let (mut seen, mut unchanged) = (0, 0);
        while unchanged < 20 {
            let list: ProblemList = other.document(path::PROBLEMS).await.unwrap();
            assert_eq!(list.items.len(), 1);
            let now = pages.load(Ordering::SeqCst);
            unchanged = if now == seen { unchanged + 1 } else { 0 };
            seen = now;
        }
        assert!(seen < 30, "{seen} pages were fetched for nobody");
    });
}

#[test]
fn a_list_whose_owner_ends_is_cut_off_not_short() {
    let check = |trouble| {
        let daemon = FakeDaemon::start(FakeApi {
            route_count: 1000,
            trouble,
            ..FakeApi::default()
        });
        block_on(async {
            let mut client = Client::connect(&daemon.socket).await.unwrap();
            prefixes(&mut client, path::ROUTES).await.unwrap_err()
        })
    };
    assert!(matches!(check(Trouble::GoneAt(2)), ClientError::CutOff { .. }));
    assert!(
        matches!(check(Trouble::Circle), ClientError::CutOff { .. }),
        "a cursor that leads back is no loop"
    );
    let ClientError::Refused { reason, message } = check(Trouble::GoneAt(0)) else {
        panic!("a proper answer")
    };
    assert_eq!(
        (reason, message.as_str()),
        (
            ErrorReason::Unavailable,
            "rib does not answer: pipitd is starting or stopping"
        )
    );
}

#[test]
fn conditions_are_applied_to_every_route() {
    let daemon = FakeDaemon::start(FakeApi {
        route_count: 1000,
        ..FakeApi::default()
    });
    let count = |query: &str| {
        block_on(async {
            let mut client = Client::connect(&daemon.socket).await.unwrap();
            prefixes(&mut client, &format!("{}?{query}", path::ROUTES))
                .await
                .unwrap()
                .len()
        })
    };
    assert_eq!(count("best=true"), 900);
    assert_eq!(count("family=ipv6"), 0);
    assert_eq!(count("from=local"), 0);
    assert_eq!(count("from=Mesh_172_18_0_2&best=true"), 900);
    assert_eq!(count("prefix=10.0.0.0/24&longer=true"), 256);
    assert_eq!(count("for=10.0.0.7"), 1);
}

#[test]
fn what_makes_no_sense_is_answered_with_the_reason() {
    let daemon = FakeDaemon::start(FakeApi::default());
    let check = |target: &str, status: u16, reason, words: &str| {
        let (got, body) = get(&daemon, target);
        assert_eq!(
            (got, body.reason, body.kind.as_str()),
            (status, reason, "Error"),
            "{target}"
        );
        assert!(body.message.contains(words), "{target}: {}", body.message);
    };
    check(
        "/v1/routes?prefix=10.0.0.0/33",
        400,
        ErrorReason::BadRequest,
        "prefix",
    );
    check(
        "/v1/routes?prefix=10.0.0.1/24",
        400,
        ErrorReason::BadRequest,
        "did you mean 10.0.0.0/24",
    );
    check("/v1/routes?colour=red", 400, ErrorReason::BadRequest, "colour");
    check("/v1/fib?family=ipx", 400, ErrorReason::BadRequest, "ipx");
    check("/v2/peers", 404, ErrorReason::NotFound, "no such path");
    let answer = raw(
        &daemon,
        "DELETE /v1/peers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && answer.contains("\"kind\":\"Error\""),
        "{answer}"
    );
}

#[test]
fn a_request_head_without_end_is_refused_before_it_fills_the_memory() {
    let daemon = FakeDaemon::start(FakeApi::default());
    let mut stream = UnixStream::connect(&daemon.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    // The kernel tells a server that closes on unread data as an error of the write or of the read.
    let outcome = stream.write_all(&vec![b'x'; 1 << 20]).and_then(|()| {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(|_| answer)
    });
    match outcome {
        Ok(answer) => assert!(answer.starts_with(b"HTTP/1.1 4"), "{answer:?}"),
        Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server keeps on reading"),
    }
}

#[test]
fn the_oldest_of_too_many_connections_makes_room() {
    let daemon = FakeDaemon::start(FakeApi::default());
    let mut idle: Vec<UnixStream> = (0..64)
        .map(|_| UnixStream::connect(&daemon.socket).unwrap())
        .collect();
    let answer = raw(
        &daemon,
        "GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    idle[0].set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(idle[0].read(&mut [0; 1]).unwrap(), 0, "the oldest is closed");
    // The youngest is still served.
    idle[63].set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    idle[63]
        .write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    idle[63].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
