/** What leads to a zone: the tickets that `connect` gives, the entries that they name, and the way back to a stream that was there. */

/** How often the way back is tried before a ticket is asked for: a relay that just died is being started again. */
const TRIES_BEFORE_TICKET = 2;

/** What `connect` answers: where to go, and what to offer there. */
export interface Ticket {
  url: string;
  protocols: string[];
  alternates: string[];
  /** What to offer there to come back to the stream, as often as needed and without another ticket; empty where it cannot. */
  resume_protocols: string[];
}

/**
 * The way back to a stream that was attached once. It is tried before a new ticket is asked for: nobody far away needs to answer, and
 * while the control plane is away it is the only way. When it does not lead there, a ticket is asked for in between.
 */
export class WayBack {
  private latest: Ticket | null = null;
  private attached = false;
  private tries = 0;

  /** A ticket was given. */
  remember(ticket: Ticket): void {
    this.latest = ticket;
  }

  /** A path was attached: from here on there is something to come back to. */
  arrived(): void {
    this.attached = true;
    this.tries = 0;
  }

  /** Whether there is something to come back to, and a way that needs no ticket. */
  get exists(): boolean {
    return this.attached && this.latest !== null && this.latest.resume_protocols.length > 0;
  }

  /** It leads nowhere any more, until the next ticket. */
  forget(): void {
    this.latest = null;
    this.tries = 0;
  }

  /** What to open the next path with, or null when a ticket is to be asked for; `only` where none is to be had. */
  next(only: boolean): Ticket | null {
    if (!this.latest || !this.exists || (!only && this.tries >= TRIES_BEFORE_TICKET)) {
      this.tries = 0;
      return null;
    }
    this.tries += 1;
    return { ...this.latest, protocols: this.latest.resume_protocols };
  }
}

/** A ticket's entries in the order in which to dial them: one that seems dead comes last. */
export function entries(ticket: Ticket, suspect: string | null): string[] {
  const urls = [ticket.url, ...ticket.alternates];
  return [...urls.filter((url) => url !== suspect), ...urls.filter((url) => url === suspect)];
}
