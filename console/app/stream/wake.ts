/**
 * Tells a stream when the world may have changed while nobody looked: the network is another, the page is looked at again, the machine has
 * slept, the browser had frozen the page or kept it away.
 *
 * Sleep is told by clocks: timers that ring far too late, or a wall clock that has gone on while the page's own stood still, as it does in a
 * sleeping machine with some systems.
 */

/** So much is no slow tick. */
const SLEPT_MS = 1_500;

export interface WakeListener {
  /** What was opened before may lead nowhere. */
  networkChanged(): void;
  /** Somebody is here again. */
  looked(): void;
  /** Time went by unnoticed, and so much of it by the page's own clock too. */
  woke(missedMs: number): void;
  /** Timers may be another's from here on. */
  visibilityChanged(): void;
  /** The page goes and will not come back. */
  left(): void;
}

/** The part of the Network Information API that not every browser has. */
interface NetworkInformation extends EventTarget {
  type?: string;
}

export class Wake {
  private readonly connection = (navigator as Navigator & { connection?: NetworkInformation }).connection;
  private connectionType = this.connection?.type;
  private offset = 0;

  constructor(private readonly listener: WakeListener) {}

  start(): void {
    this.offset = Date.now() - performance.now();
    window.addEventListener('online', this.online);
    window.addEventListener('pagehide', this.hide);
    window.addEventListener('pageshow', this.show);
    document.addEventListener('visibilitychange', this.visibility);
    document.addEventListener('resume', this.resume);
    this.connection?.addEventListener('change', this.type);
  }

  stop(): void {
    window.removeEventListener('online', this.online);
    window.removeEventListener('pagehide', this.hide);
    window.removeEventListener('pageshow', this.show);
    document.removeEventListener('visibilitychange', this.visibility);
    document.removeEventListener('resume', this.resume);
    this.connection?.removeEventListener('change', this.type);
  }

  /** To be called whenever the alarm rings that was set for `due`. */
  rang(now: number, due: number): void {
    const offset = Date.now() - now;
    const missed = Math.max(0, offset - this.offset);
    this.offset = offset;
    if (now - due >= SLEPT_MS || missed >= SLEPT_MS) this.listener.woke(missed);
  }

  private readonly online = () => this.listener.networkChanged();
  private readonly resume = () => this.listener.looked();

  private readonly hide = (event: PageTransitionEvent) => {
    // One that the browser keeps may be shown again, with its stream.
    if (!event.persisted) this.listener.left();
  };

  private readonly show = (event: PageTransitionEvent) => {
    if (event.persisted) this.listener.looked();
  };

  private readonly visibility = () => {
    this.listener.visibilityChanged();
    if (!document.hidden) this.listener.looked();
  };

  private readonly type = () => {
    // The event tells of estimates too, which come and go.
    if (this.connection?.type === this.connectionType) return;
    this.connectionType = this.connection?.type;
    this.listener.networkChanged();
  };
}
