use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::wire::header;
use crate::wire::iana::{ErrorCode, message};
use crate::wire::notification::Notification;

/// Octets in an UPDATE here, which are its frame's number: nothing reads them as routes.
const FILLING: usize = 4_000;

async fn connected() -> (Arc<Outbox>, Arc<SentCounts>, TcpStream, OwnedReadHalf) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (read_half, write_half) = ours.unwrap().into_split();
    let sent = Arc::<SentCounts>::default();
    (
        Outbox::new(write_half, sent.clone()),
        sent,
        theirs.unwrap().0,
        read_half,
    )
}

fn frame(number: u8) -> Bytes {
    header::message(message::UPDATE, &[number; FILLING])
        .repeat(16)
        .into()
}

/// Sends frames until one finds no room; how many were taken or wait.
fn fill(frames: &FrameSender) -> u8 {
    for number in 0.. {
        match frames.send(frame(number)) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, Unsent::Full);
                return number;
            }
        }
    }
    unreachable!("a socket takes all of 255 frames");
}

/// The messages that come, by type and first octet, repetitions left out, until the end.
async fn heard(mut stream: TcpStream) -> Vec<(u8, u8)> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let (mut rest, mut heard) = (&all[..], Vec::new());
    while !rest.is_empty() {
        assert_eq!(rest[..16], [0xff; 16], "no message begins here");
        let len = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
        let first = if len > header::LEN { rest[header::LEN] } else { 0 };
        heard.push((rest[18], first));
        rest = &rest[len..];
    }
    heard.dedup();
    heard
}

#[tokio::test]
async fn a_free_socket_takes_a_frame_at_once_and_no_task_has_to_run() {
    let (outbox, sent, mut theirs, _ours) = connected().await;
    let frames = outbox.open();
    for number in 0..3 {
        assert_eq!(frames.send(frame(number)), Ok(Sent::Taken));
        let mut read = vec![0; frame(number).len()];
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(read, frame(number));
    }
    assert!(!outbox.wants_write());
    let (update, octets) = (3 * 16, 3 * frame(0).len() as u64);
    assert_eq!((sent.totals().update, sent.totals().octets), (update, octets));
}

#[tokio::test]
async fn messages_stay_whole_and_control_messages_overtake_frames_when_a_socket_is_full() {
    let (outbox, sent, theirs, ours) = connected().await;
    let frames = outbox.open();
    let count = fill(&frames);
    // The task is told that there is something for it.
    outbox.left().await;
    assert!(outbox.wants_write());
    for _ in 0..10 {
        outbox.push_urgent(header::keepalive().to_vec().into());
    }
    let hears = tokio::spawn(heard(theirs));
    let mut drained = 0;
    while outbox.wants_write() {
        drained += outbox.write().unwrap().drained;
        tokio::task::yield_now().await;
    }
    assert_eq!(drained, FRAME_ROOM);
    assert_eq!(frames.send(frame(count)), Ok(Sent::Taken));
    drop((outbox.close(), ours));
    let heard = hears.await.unwrap();
    // What was partly written came first, then the KEEPALIVE, then what waited.
    let at = heard
        .iter()
        .position(|(kind, _)| *kind == message::KEEPALIVE)
        .unwrap();
    assert_eq!(at, usize::from(count) - FRAME_ROOM);
    let updates: Vec<u8> = heard
        .iter()
        .filter(|(kind, _)| *kind == message::UPDATE)
        .map(|(_, number)| *number)
        .collect();
    assert_eq!(updates, (0..=count).collect::<Vec<_>>());
    assert_eq!(sent.totals().keepalive, 1);
}

#[tokio::test]
async fn an_ended_session_takes_nothing_and_its_last_words_are_whole() {
    let (outbox, _, theirs, ours) = connected().await;
    let frames = outbox.open();
    let count = fill(&frames);
    outbox.end();
    assert_eq!(frames.send(frame(0)), Err(Unsent::Ended));
    assert!(frames.is_closed());
    outbox.push_urgent(header::keepalive().to_vec().into());
    let (write_half, unsent) = outbox.close();
    let mut stream = ours.reunite(write_half.unwrap()).unwrap();
    let hears = tokio::spawn(heard(theirs));
    for bytes in unsent {
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes)
            .await
            .unwrap();
    }
    drop(stream);
    let heard = hears.await.unwrap();
    assert_eq!(heard.last(), Some(&(message::KEEPALIVE, 0)));
    assert_eq!(heard.len(), usize::from(count) - FRAME_ROOM + 1);
    drop(outbox);
    assert_eq!(frames.send(frame(0)), Err(Unsent::Ended));
}

#[tokio::test]
async fn rfc4271_6_nothing_follows_a_notification_although_frames_wait_and_there_is_room_again() {
    let (outbox, _, theirs, ours) = connected().await;
    let frames = outbox.open();
    fill(&frames);
    let hears = tokio::spawn(heard(theirs));
    ours.ready(tokio::io::Interest::WRITABLE).await.unwrap();
    outbox.push_urgent(Notification::new(ErrorCode::ADMINISTRATIVE_RESET).encode());
    while outbox.wants_write() {
        outbox.write().unwrap();
        tokio::task::yield_now().await;
    }
    drop((outbox.close(), ours));
    assert_eq!(
        hears.await.unwrap().last(),
        Some(&(message::NOTIFICATION, ErrorCode::ADMINISTRATIVE_RESET.code))
    );
}
