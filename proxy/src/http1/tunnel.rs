//! Carries bytes both ways after a switch of protocols, until either side ends or both are silent too long.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::io::{Clock, Outgoing, PIECE, poll_append};

/// How long the other side may be silent after one has ended: most protocols end both at once.
const HALF_OPEN: Duration = Duration::from_secs(30);

/// One end of a tunnel, and what is on its way to it.
pub(super) struct Side<'a, T: ?Sized> {
    pub(super) io: &'a mut T,
    pub(super) out: &'a mut Outgoing,
}

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// From the client to the backend, in bytes.
    pub(super) up: u64,
    /// From the backend to the client, in bytes.
    pub(super) down: u64,
}

/// Runs a tunnel to its end. A side that closes its half lets the other finish what it has to say.
pub(super) async fn run<A, B>(
    mut client: Side<'_, A>,
    mut backend: Side<'_, B>,
    clock: &mut Clock,
    idle: Duration,
) -> Carried
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut carried = Carried::default();
    let (mut up, mut down) = (Way::Open, Way::Open);
    clock.set(Instant::now() + idle);
    poll_fn(|cx| {
        loop {
            let mut progress = false;
            carry(&mut client, &mut backend, &mut up, &mut carried.up, cx, &mut progress);
            carry(&mut backend, &mut client, &mut down, &mut carried.down, cx, &mut progress);
            if up == Way::Broken || down == Way::Broken || (up == Way::Shut && down == Way::Shut) {
                return Poll::Ready(());
            }
            if !progress {
                return clock.poll_ring(cx);
            }
            let is_half_open = up == Way::Shut || down == Way::Shut;
            clock.set(Instant::now() + if is_half_open { idle.min(HALF_OPEN) } else { idle });
        }
    })
    .await;
    carried
}

/// How one direction is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Its source has ended; what was read is still to be sent.
    Ending,
    /// Everything was sent and the end was passed on.
    Shut,
    Broken,
}

fn carry<A, B>(
    from: &mut Side<'_, A>,
    to: &mut Side<'_, B>,
    way: &mut Way,
    count: &mut u64,
    cx: &mut Context<'_>,
    progress: &mut bool,
) where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    if matches!(way, Way::Shut | Way::Broken) {
        return;
    }
    match to.out.poll_send(&mut *to.io, cx, progress) {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(_)) => return *way = Way::Broken,
        Poll::Pending => return,
    }
    if *way == Way::Ending {
        if Pin::new(&mut *to.io).poll_shutdown(cx).is_ready() {
            (*way, *progress) = (Way::Shut, true);
        }
        return;
    }
    match poll_append(&mut *from.io, cx, PIECE, &mut to.out.bytes) {
        Poll::Ready(Ok(0)) => (*way, *progress) = (Way::Ending, true),
        Poll::Ready(Ok(read)) => {
            *count += read as u64;
            *progress = true;
        }
        Poll::Ready(Err(_)) => *way = Way::Broken,
        Poll::Pending => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_side_hears_the_other_out() {
        let (mut client, mut near) = duplex(4096);
        let (mut far, mut backend) = duplex(4096);
        let running = tokio::spawn(async move {
            let (mut up, mut down) = (Outgoing::default(), Outgoing::default());
            let mut clock = Clock::new(Duration::from_secs(60));
            let client = Side { io: &mut near, out: &mut down };
            let backend = Side { io: &mut far, out: &mut up };
            run(client, backend, &mut clock, Duration::from_secs(60)).await
        });
        client.write_all(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        backend.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"ping");
        backend.write_all(&[7; 1000]).await.unwrap();
        backend.shutdown().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), 1000);
        assert_eq!(running.await.unwrap(), Carried { up: 4, down: 1000 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_one_side_left_does_not_wait_its_whole_idle_time() {
        let (_client, mut near) = duplex(64);
        let (mut far, backend) = duplex(64);
        let (mut up, mut down) = (Outgoing::default(), Outgoing::default());
        let mut clock = Clock::new(Duration::from_secs(60));
        let started = Instant::now();
        drop(backend);
        let client = Side { io: &mut near, out: &mut down };
        let backend = Side { io: &mut far, out: &mut up };
        run(client, backend, &mut clock, Duration::from_secs(3600)).await;
        assert_eq!(started.elapsed(), HALF_OPEN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_stays_open_through_hours_of_silence_within_its_idle_time() {
        const HOUR: Duration = Duration::from_secs(3600);
        let (mut client, mut near) = duplex(64);
        let (mut far, mut backend) = duplex(64);
        let running = tokio::spawn(async move {
            let (mut up, mut down) = (Outgoing::default(), Outgoing::default());
            let mut clock = Clock::new(Duration::from_secs(60));
            let client = Side { io: &mut near, out: &mut down };
            let backend = Side { io: &mut far, out: &mut up };
            run(client, backend, &mut clock, 5 * HOUR).await
        });
        for turn in 0..3 {
            tokio::time::advance(4 * HOUR).await;
            backend.write_u8(turn).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), turn);
        }
        assert!(!running.is_finished(), "twelve hours, of which none was more than four silent ones");
        tokio::time::advance(5 * HOUR).await;
        assert_eq!(running.await.unwrap(), Carried { up: 0, down: 3 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_ends_after_its_idle_time() {
        let (_client, mut near) = duplex(64);
        let (mut far, _backend) = duplex(64);
        let (mut up, mut down) = (Outgoing::default(), Outgoing::default());
        let mut clock = Clock::new(Duration::from_secs(60));
        let started = Instant::now();
        let client = Side { io: &mut near, out: &mut down };
        let backend = Side { io: &mut far, out: &mut up };
        run(client, backend, &mut clock, Duration::from_secs(3600)).await;
        assert_eq!(started.elapsed(), Duration::from_secs(3600));
    }
}
