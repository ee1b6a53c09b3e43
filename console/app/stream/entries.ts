/**
 * A zone's entries: which of those that a ticket names a path is opened through.
 *
 * They are tried one after another, because an entry that cannot be reached has not used the ticket up, and one that has would be
 * the only one to accept it.
 */

import { PROTOCOL_VERSION } from './frames';

const SUBPROTOCOL = `meridian.v${PROTOCOL_VERSION}`;
/** An entry that has not opened the WebSocket within this time is passed over while there is another to try. */
const PASS_OVER_AFTER_MS = 2_500;
/** The last one is waited for longer. */
const OPEN_WITHIN_MS = 8_000;

/** What `connect` answers: where to go, and what to offer there. */
export interface Ticket {
  url: string;
  protocols: string[];
  alternates: string[];
}

export type OpenSocket = (url: string, protocols: string[]) => WebSocket;

/** An open WebSocket, and the entry that it goes through. */
export interface Opened {
  socket: WebSocket;
  url: string;
}

/** Opens a path through the first entry that answers; `suspect` names one that seems dead and is tried last. */
export async function openEntry(ticket: Ticket, suspect: string | null, openSocket: OpenSocket): Promise<Opened> {
  const urls = [ticket.url, ...ticket.alternates];
  const inOrder = [...urls.filter((url) => url !== suspect), ...urls.filter((url) => url === suspect)];
  for (const [index, url] of inOrder.entries()) {
    const isLast = index === inOrder.length - 1;
    const socket = await tryOpen(url, ticket.protocols, isLast ? OPEN_WITHIN_MS : PASS_OVER_AFTER_MS, openSocket);
    if (socket) return { socket, url };
  }
  throw new Error('No entry of the zone could be reached.');
}

function tryOpen(
  url: string,
  protocols: string[],
  withinMs: number,
  openSocket: OpenSocket,
): Promise<WebSocket | null> {
  return new Promise((resolve) => {
    const socket = openSocket(url, protocols);
    socket.binaryType = 'arraybuffer';
    const done = (result: WebSocket | null) => {
      clearTimeout(timeout);
      socket.onopen = socket.onclose = socket.onerror = null;
      if (!result) socket.close();
      resolve(result);
    };
    const timeout = setTimeout(() => done(null), withinMs);
    socket.onopen = () => done(socket.protocol === SUBPROTOCOL ? socket : null);
    socket.onclose = socket.onerror = () => done(null);
  });
}
