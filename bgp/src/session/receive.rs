//! What a connection received: whole messages out of octets, each by the state it finds.

use std::time::{Duration, Instant};

use bytes::Buf;
use tracing::{debug, warn};

use crate::family::FamilySet;
use crate::session::collision::{self, Direction};
use crate::session::connection::Phase;
use crate::session::dial::Dial;
use crate::session::ending::Ending;
use crate::session::negotiate;
use crate::session::output::Negotiated;
use crate::session::timers::{hold_deadline, restart_hold_timer};
use crate::session::{Action, Session};
use crate::wire::header;
use crate::wire::iana::{ErrorCode, message};
use crate::wire::notification::Notification;
use crate::wire::open::Open;
use crate::wire::route_refresh::{self, RouteRefresh};
use crate::wire::update::{self, BatchItem, DecodeOptions, UpdateBatch};

/// The least time between two lines about malformed UPDATEs of one peer.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

impl Session {
    /// Decodes what a connection received. Whole messages are taken from `bytes`; routes are appended to `batch`.
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        direction: Direction,
        bytes: &mut (impl Buf + AsRef<[u8]>),
        batch: &mut UpdateBatch,
    ) {
        while let Some(connection) = self.connection(direction) {
            let is_extended = connection
                .negotiated()
                .is_some_and(|n| usize::from(n.max_message_len) > header::MAX_LEN);
            let header = match header::decode(bytes.as_ref(), is_extended) {
                Ok(Some(header)) if bytes.remaining() >= header.len => header,
                Ok(_) => return,
                Err(notification) => {
                    let reason = format!("sent: {notification}");
                    return self.fail(now, direction, Some(&notification), reason);
                }
            };
            self.received.count(header.kind);
            // The message stays in the buffer while it is read; what it leaves behind is copied out.
            let taken =
                self.handle_message(now, direction, header.kind, &bytes.as_ref()[..header.len], batch);
            bytes.advance(header.len);
            if let Err(notification) = taken {
                let reason = format!("sent: {notification}");
                self.fail(now, direction, Some(&notification), reason);
            }
        }
    }

    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        direction: Direction,
        kind: u8,
        whole: &[u8],
        batch: &mut UpdateBatch,
    ) -> Result<(), Notification> {
        let body = &whole[header::LEN..];
        if kind == message::NOTIFICATION {
            self.handle_notification(now, direction, body);
            return Ok(());
        }
        let is_external = self.config.local_as != self.config.remote_as;
        let Some(connection) = self.slot(direction) else {
            return Ok(());
        };
        match (&connection.phase, kind) {
            (Phase::DelayOpen(_), message::OPEN) => {
                self.send_open(now, direction);
                self.handle_open(now, direction, body)
            }
            (Phase::DelayOpen(_), _) => Err(Notification::with(ErrorCode::FSM_UNSPECIFIC, [kind])),
            (Phase::OpenSent, message::OPEN) => self.handle_open(now, direction, body),
            (Phase::OpenSent, _) => Err(Notification::with(ErrorCode::UNEXPECTED_IN_OPEN_SENT, [kind])),
            (Phase::OpenConfirm(_), message::KEEPALIVE) => {
                restart_hold_timer(connection, now);
                self.establish(now, direction);
                Ok(())
            }
            // While we wait for the other connection, the peer has chosen this one: for it this is Established.
            (Phase::OpenConfirm(_), message::UPDATE | message::ROUTE_REFRESH) if connection.is_confirmed => {
                self.choose(now, direction);
                self.handle_message(now, direction, kind, whole, batch)
            }
            (Phase::OpenConfirm(_), _) => {
                Err(Notification::with(ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM, [kind]))
            }
            (Phase::Established(_), message::KEEPALIVE) => {
                restart_hold_timer(connection, now);
                Ok(())
            }
            (Phase::Established(negotiated), message::UPDATE) => {
                let options = decode_options(is_external, negotiated);
                restart_hold_timer(connection, now);
                self.handle_update(now, body, &options, batch)
            }
            (Phase::Established(negotiated), message::ROUTE_REFRESH) => {
                let is_enhanced = negotiated.enhanced_refresh;
                let families = negotiated.families;
                restart_hold_timer(connection, now);
                handle_refresh(whole, is_enhanced, families, batch)
            }
            (Phase::Established(_), _) => {
                Err(Notification::with(ErrorCode::UNEXPECTED_IN_ESTABLISHED, [kind]))
            }
        }
    }

    pub(super) fn handle_open(
        &mut self,
        now: Instant,
        direction: Direction,
        body: &[u8],
    ) -> Result<(), Notification> {
        let theirs = Open::decode(body)?;
        let local_address = match self.connection(direction) {
            Some(connection) => connection.local_address,
            None => return Ok(()),
        };
        let negotiated = negotiate::negotiate(&self.config, &theirs, local_address)?;
        let ours = (self.config.router_id, self.config.local_as);
        let loser = collision::loser(ours, (theirs.router_id, negotiated.remote_as));
        let other = direction.opposite();
        if self
            .connection(other)
            .is_some_and(|connection| connection.theirs.is_some())
        {
            debug!(peer = %self.config.name, ?loser, "two connections, one closes");
            self.send_notification(loser, &Notification::new(ErrorCode::COLLISION_RESOLUTION));
            self.drop_connection(loser);
            if loser == direction {
                self.resume(now, other);
                return Ok(());
            }
        }
        let keepalive_at = self.next_keepalive(now, negotiated.hold_time);
        if let Some(connection) = self.slot(direction) {
            connection.hold_at = hold_deadline(now, negotiated.hold_time);
            connection.keepalive_at = keepalive_at;
            connection.theirs = Some(theirs);
            connection.phase = Phase::OpenConfirm(Box::new(negotiated));
        }
        if matches!(self.dial, Dial::Retry(_) | Dial::IdleHold(_)) {
            self.dial = Dial::Off;
        }
        self.actions
            .push_back(Action::Send(direction, header::keepalive()));
        Ok(())
    }

    pub(super) fn handle_update(
        &mut self,
        now: Instant,
        body: &[u8],
        options: &DecodeOptions,
        batch: &mut UpdateBatch,
    ) -> Result<(), Notification> {
        match update::decode(body, options, batch) {
            Ok(outcome) => {
                if outcome.is_withdraw() && self.may_complain(now) {
                    warn!(peer = %self.config.name, incidents = ?outcome.incidents, "malformed UPDATE: its routes count as withdrawn");
                } else if !outcome.incidents.is_empty() {
                    debug!(peer = %self.config.name, incidents = ?outcome.incidents, "attributes of an UPDATE are malformed");
                }
                Ok(())
            }
            Err(error) => {
                warn!(peer = %self.config.name, %error, "malformed UPDATE");
                Err(Notification::with(
                    ErrorCode {
                        code: 3,
                        subcode: error.subcode,
                    },
                    error.data,
                ))
            }
        }
    }

    /// Whether a malformed UPDATE is worth a line: a peer that sends nothing else must not fill the log.
    fn may_complain(&mut self, now: Instant) -> bool {
        let may = self.quiet_until.is_none_or(|until| now >= until);
        if may {
            self.quiet_until = now.checked_add(COMPLAINT_INTERVAL);
        }
        may
    }

    pub(super) fn handle_notification(&mut self, now: Instant, direction: Direction, body: &[u8]) {
        let Some(notification) = Notification::decode(body) else {
            return;
        };
        let reason = format!("received: {notification}");
        if notification.error != ErrorCode::COLLISION_RESOLUTION {
            self.last_error_received = Some(notification.to_string());
        }
        let ending = Ending::of(notification.error);
        let retain = if notification.is_hard_reset() {
            (FamilySet::EMPTY, None)
        } else {
            self.retainable_over_notification(direction)
        };
        self.end(now, direction, reason, retain, ending);
    }
}

fn handle_refresh(
    whole: &[u8],
    is_enhanced: bool,
    families: FamilySet,
    batch: &mut UpdateBatch,
) -> Result<(), Notification> {
    let item = match route_refresh::decode(whole, is_enhanced)? {
        Some(RouteRefresh::Request(family)) if families.contains(family) => BatchItem::RefreshRequest(family),
        Some(RouteRefresh::Begin(family)) if families.contains(family) => BatchItem::BeginOfRefresh(family),
        Some(RouteRefresh::End(family)) if families.contains(family) => BatchItem::EndOfRefresh(family),
        Some(_) | None => return Ok(()),
    };
    batch.items.push(item);
    Ok(())
}

fn decode_options(is_external: bool, negotiated: &Negotiated) -> DecodeOptions {
    DecodeOptions {
        four_octet_as: negotiated.four_octet_as,
        add_path: negotiated.add_path_receive,
        families: negotiated.families,
        extended_next_hop: negotiated.extended_next_hop,
        is_external,
    }
}
