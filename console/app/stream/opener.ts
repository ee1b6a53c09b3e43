/**
 * Gets a stream its next path: by a pass or a ticket, through an entry that answers. One at a time, and each within limits.
 *
 * A pass is tried before a ticket is asked for. Nobody who has signed out is given a ticket, and then the pass alone is tried until
 * somebody has signed in again; without a pass there is nothing to try.
 */

import { Dial, type OpenSocket, type Opened } from './dial';
import { type Ticket, WayBack, entries } from './entries';
import { SignedOut, StreamTrouble } from './trouble';

/** A control plane that is silent for longer does not keep a stream from its way back. */
const TICKET_WITHIN_MS = 4_000;
/** Where there is no way back, the question itself ends earlier. */
const ONLY_TICKET_WITHIN_MS = 20_000;

export interface OpenerRim {
  askTicket(): Promise<Ticket>;
  openSocket: OpenSocket;
  /** `due` may be another. */
  changed(): void;
}

export class Opener {
  private readonly wayBack = new WayBack();
  private dial: Dial | null = null;
  private patience: { until: number; giveUp: () => void } | null = null;
  private over = false;
  /** Nobody is signed in any more. */
  signedOut = false;
  busy = false;

  constructor(private readonly rim: OpenerRim) {}

  /** When `tick` must be called next. */
  get due(): number {
    return Math.min(this.dial?.due ?? Number.POSITIVE_INFINITY, this.patience?.until ?? Number.POSITIVE_INFINITY);
  }

  /** False where only somebody who signs in can help. */
  get canOpen(): boolean {
    return !this.signedOut || this.wayBack.exists;
  }

  tick(now: number): void {
    this.dial?.tick(now);
    if (this.patience && now >= this.patience.until) this.patience.giveUp();
  }

  /** The network has changed, or time has gone by unnoticed: what is waited for may never come. */
  hurry(): void {
    this.dial?.hurry();
    this.patience?.giveUp();
  }

  /** Nothing comes of it any more. */
  cancel(): void {
    this.over = true;
    this.dial?.cancel();
  }

  /** A path was attached. */
  arrived(): void {
    this.wayBack.arrived();
  }

  /** What led back until now leads nowhere. */
  forget(): void {
    this.wayBack.forget();
  }

  /** The next path; null where nobody waits for it any more. */
  async open(suspectUrl: string | null): Promise<Opened | null> {
    this.busy = true;
    try {
      const ticket = this.wayBack.next(this.signedOut) ?? (await this.askTicket());
      if (this.over) return null;
      this.dial = new Dial(entries(ticket, suspectUrl), ticket.protocols, {
        openSocket: this.rim.openSocket,
        now: () => performance.now(),
        changed: () => this.rim.changed(),
        random: Math.random,
      });
      this.rim.changed();
      const opened = await this.dial.opened;
      return this.kept(opened);
    } catch (error) {
      if (this.over) return null;
      throw error;
    } finally {
      this.dial = null;
      this.busy = false;
    }
  }

  /** Nobody may wait for it any more. */
  private kept(opened: Opened): Opened | null {
    if (!this.over) return opened;
    opened.socket.close();
    return null;
  }

  private async askTicket(): Promise<Ticket> {
    const { wayBack } = this;
    const asking = this.rim.askTicket().then((ticket) => {
      wayBack.remember(ticket);
      return ticket;
    });
    try {
      return await this.within(wayBack.exists ? TICKET_WITHIN_MS : ONLY_TICKET_WITHIN_MS, asking);
    } catch (error) {
      if (error instanceof SignedOut) this.signedOut = true;
      throw error;
    }
  }

  /** What a promise comes to, or an error when that takes too long. */
  private within<T>(limitMs: number, promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const patience = {
        until: performance.now() + limitMs,
        giveUp: () => {
          this.patience = null;
          reject(new StreamTrouble('control', 'Meridian does not answer.'));
        },
      };
      this.patience = patience;
      this.rim.changed();
      promise.then(resolve, reject).finally(() => {
        if (this.patience === patience) this.patience = null;
      });
    });
  }
}
