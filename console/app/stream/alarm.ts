/**
 * One timer that also rings on time while the tab is hidden. Browsers slow the timers of hidden pages to once a second and
 * later once a minute, which would break the stream's promises about ACK and PING; a worker's timers keep their pace.
 */

export class Alarm {
  private timeout: ReturnType<typeof setTimeout> | null = null;
  private worker: Worker | null = null;
  private serial = 0;

  constructor(private readonly ring: () => void) {
    try {
      this.worker = new Worker(new URL('./alarm.worker.ts', import.meta.url), { type: 'module' });
      this.worker.onmessage = (event: MessageEvent<number>) => {
        if (event.data === this.serial) this.ring();
      };
      this.worker.onerror = () => this.loseWorker();
    } catch {
      this.worker = null;
    }
  }

  /** Rings once after `delayMs`; a later call replaces an earlier one. */
  set(delayMs: number): void {
    this.clear();
    const delay = Math.max(0, delayMs);
    if (document.hidden && this.worker) this.worker.postMessage({ serial: this.serial, delay });
    else this.timeout = setTimeout(this.ring, delay);
  }

  clear(): void {
    this.serial += 1;
    if (this.timeout !== null) clearTimeout(this.timeout);
    this.timeout = null;
  }

  close(): void {
    this.clear();
    this.worker?.terminate();
    this.worker = null;
  }

  private loseWorker(): void {
    this.worker?.terminate();
    this.worker = null;
    this.ring();
  }
}
