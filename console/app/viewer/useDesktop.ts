/** Ties one session's stream to its picture, its clipboard and the page. Everything is made on mount and let go on unmount. */

import { type RefObject, useEffect, useRef, useState } from 'react';
import * as api from '../api/client';
import { asProblem } from '../api/problem';
import type { Session } from '../api/types';
import { type Rates, StreamConnection, type StreamState, type Ticket } from '../stream/connection';
import { NoTicket, SignedOut, StreamTrouble } from '../stream/trouble';
import { sentence } from '../ui/text';
import { SharedClipboard } from './Clipboard';
import { Screen } from './Screen';
import { PasteKey } from './paste';

export interface Desktop {
  screen: RefObject<Screen | null>;
  clipboard: RefObject<SharedClipboard | null>;
  connection: RefObject<StreamConnection | null>;
  state: StreamState;
  /** The current display has drawn. Stays true while a broken path is replaced. */
  drawn: boolean;
  rates: Rates;
  clipboardText: string;
  clipboardRefusal: string | null;
}

const opening: StreamState = { name: 'connecting', since: 0, trouble: null, signedOut: false };

/** `watch`: somebody else's session, which the person looks on at. */
export function useDesktop(session: Session, host: RefObject<HTMLDivElement | null>, watch: string | null = null): Desktop {
  const screen = useRef<Screen>(null);
  const clipboard = useRef<SharedClipboard>(null);
  const connection = useRef<StreamConnection>(null);
  const [state, setState] = useState<StreamState>(opening);
  const [drawn, setDrawn] = useState(false);
  const [rates, setRates] = useState<Rates>({ latencyMs: null, down: 0, up: 0 });
  const [clipboardText, setClipboardText] = useState('');
  const [clipboardRefusal, setClipboardRefusal] = useState<string | null>(null);
  const { id, name } = session;
  const takesKeys = state.name === 'live' && (session.frozen ?? null) === null;
  useEffect(() => screen.current?.setInteractive(takesKeys), [takesKeys]);

  useEffect(() => {
    if (!host.current) return;
    const stream = new StreamConnection({
      askTicket: (thumbprint) => askTicket(id, watch, thumbprint),
      listener: {
        state: setState,
        display: (channel) => picture.show(channel),
        clipboard: (text) => shared.received(text),
        clipboardRefused: setClipboardRefusal,
        rates: setRates,
      },
    });
    const label = watch === null ? 'desktop. Ctrl+Alt+Shift+M leaves it for the toolbar.' : 'somebody else’s desktop, to look at.';
    const drawn = () => {
      setDrawn(true);
      if (watch === null) shared.focused();
    };
    const picture = new Screen(host.current, `${name}, ${label}`, { drawn, failed: () => stream.restart() }, watch !== null);
    const shared = new SharedClipboard({
      send: (text) => {
        setClipboardRefusal(null);
        return stream.sendClipboard(text);
      },
      changed: setClipboardText,
    });
    const paste = new PasteKey({
      hasFocus: () => picture.hasFocus,
      offer: (text) => shared.found(text),
      read: () => shared.read(),
      key: (key, down) => picture.key(key, down),
    });
    screen.current = picture;
    clipboard.current = shared;
    connection.current = stream;
    if (watch === null) {
      shared.start();
      paste.start();
    }
    stream.start();
    return () => {
      paste.stop();
      shared.stop();
      stream.close();
      picture.dispose();
    };
  }, [id, name, host, watch]);

  return { screen, clipboard, connection, state, drawn, rates, clipboardText, clipboardRefusal };
}

/** A ticket; `NoTicket` where the answer says that asking again is of no use, `SignedOut` where nobody is there to be given one. */
async function askTicket(id: string, watch: string | null, thumbprint: string | null): Promise<Ticket> {
  try {
    return await (watch === null ? api.connect(id, thumbprint) : api.connectWatch(id, watch, thumbprint));
  } catch (error) {
    const problem = asProblem(error);
    const { status, message, hint } = problem.details;
    if (problem.signedOut) throw new SignedOut(message);
    if (status === 403) throw new NoTicket('revoked', message);
    if (status === 404 || status === 410) throw new NoTicket('ended', message);
    const text = [message, hint].filter((text) => text !== null).map(sentence).join(' ');
    throw new StreamTrouble('control', text, { cause: error });
  }
}
