//! Threads with a runtime of their own, so that other work of the agent does not delay theirs.

use std::thread;

use anyhow::{Context as _, Result};

/// Starts a thread that does this work.
pub fn spawn<W: Future<Output = ()>>(
    name: &str,
    work: impl FnOnce() -> W + Send + 'static,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let thread = thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || runtime.block_on(work()));
    spawned.with_context(|| format!("start the thread {name}"))?;
    Ok(())
}
