//! A plain file with group commit: one writer, one write and one fdatasync for all that wait.
//!
//! A file that grows makes every fdatasync write the file system's own records, too. A recycled one has
//! all its blocks, and its writes begin at the front again when they come to the end. With an overlap, a
//! second thread syncs and answers one group while the next is collected and written.

use bytes::Bytes;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How many appends may wait; more hold up their senders.
const WAITING_MAX: usize = 1024;
/// How many appends share one fdatasync at most.
const GROUP_MAX: usize = 512;
/// Bytes of a file that is recycled: as many as a segment of the bridge.
const RECYCLED_BYTES: u64 = 64 << 20;

/// Bytes, and whom to tell that they are durable.
type Waiting = (Bytes, oneshot::Sender<()>);

/// Hands bytes to the writer.
#[derive(Clone)]
pub struct Append(mpsc::Sender<Waiting>);

impl Append {
    /// Returns once the bytes are on stable storage; `None` if the writer has failed.
    pub async fn append(&self, bytes: Bytes) -> Option<()> {
        let (durable, answer) = oneshot::channel();
        self.0.send((bytes, durable)).await.ok()?;
        answer.await.ok()
    }
}

/// The file, and where the next group goes.
struct Log {
    file: File,
    at: u64,
    recycle: bool,
}

impl Log {
    fn create(path: &Path, recycle: bool) -> io::Result<Self> {
        let file = File::create(path)?;
        if recycle {
            let zeros = vec![0; 1 << 20];
            for at in (0..RECYCLED_BYTES).step_by(zeros.len()) {
                file.write_all_at(&zeros, at)?;
            }
            file.sync_all()?;
        }
        Ok(Self { file, at: 0, recycle })
    }

    /// Writes the bodies of a group behind the former one.
    fn write(&mut self, group: &[Waiting], buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        for (bytes, _) in group {
            buffer.extend_from_slice(bytes);
        }
        if self.recycle && self.at + buffer.len() as u64 > RECYCLED_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(buffer, self.at)?;
        self.at += buffer.len() as u64;
        Ok(())
    }
}

/// Makes a group that is written durable, and answers it. The one who waited may have gone; the bytes are
/// kept all the same.
fn settle(file: &File, group: &mut Vec<Waiting>) -> io::Result<()> {
    file.sync_data()?;
    for (_, durable) in group.drain(..) {
        let _ = durable.send(());
    }
    Ok(())
}

/// Starts the thread that settles groups while others are written.
fn settler(file: &File) -> io::Result<SyncSender<Vec<Waiting>>> {
    let file = file.try_clone()?;
    let (written, groups) = sync_channel::<Vec<Waiting>>(0);
    std::thread::spawn(move || {
        while let Ok(mut group) = groups.recv() {
            if settle(&file, &mut group).is_err() {
                return;
            }
        }
    });
    Ok(written)
}

/// Opens the file and starts its writer, and with an overlap the thread that settles.
///
/// # Errors
/// When the file cannot be created.
pub fn open(path: &Path, recycle: bool, overlap: bool) -> io::Result<Append> {
    let mut log = Log::create(path, recycle)?;
    let settler = if overlap { Some(settler(&log.file)?) } else { None };
    let (sender, mut receiver) = mpsc::channel::<Waiting>(WAITING_MAX);
    std::thread::spawn(move || {
        let mut group = Vec::with_capacity(GROUP_MAX);
        let mut buffer = Vec::new();
        while receiver.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            let settled = log.write(&group, &mut buffer).is_ok()
                && match &settler {
                    Some(settler) => settler.send(std::mem::take(&mut group)).is_ok(),
                    None => settle(&log.file, &mut group).is_ok(),
                };
            // On failure the waiting are dropped unanswered, and so is everyone after them.
            if !settled {
                return;
            }
        }
    });
    Ok(Append(sender))
}

/// What driving the file found.
#[derive(Serialize)]
pub struct Appended {
    accepted: u64,
    seconds: f64,
    accepted_per_second: f64,
}

/// Appends from so many tasks for so long.
///
/// # Errors
/// When the writer fails.
pub async fn drive(append: Append, tasks: usize, bytes: usize, time: Duration) -> anyhow::Result<Appended> {
    let body = Bytes::from(vec![b'x'; bytes]);
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (append, body) = (append.clone(), body.clone());
            tokio::spawn(async move {
                let mut appended = 0_u64;
                while started.elapsed() < time {
                    append.append(body.clone()).await?;
                    appended += 1;
                }
                Some(appended)
            })
        })
        .collect();
    let mut accepted = 0;
    for task in running {
        accepted += task.await?.ok_or_else(|| anyhow::anyhow!("the file could not be written"))?;
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Appended { accepted, seconds, accepted_per_second: accepted as f64 / seconds })
}
