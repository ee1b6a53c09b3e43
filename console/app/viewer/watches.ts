/** What a session says of those who ask to look on at it, and of those who do. */

import type { Session, Watch } from '../api/types';

/** The question to be answered now: the one that was asked first. `now` is the server's time. */
export function questionOf(session: Session, now: number): Watch | null {
  const asked = (session.watches ?? []).filter((watch) => watch.state === 'asked' && Date.parse(watch.answer_by) > now);
  return asked[0] ?? null;
}

/** Those who look on, or may at any moment. */
export function onlookersOf(session: Session, now: number): Watch[] {
  return (session.watches ?? []).filter(
    (watch) => watch.state === 'allowed' && (watch.until === null || Date.parse(watch.until) > now),
  );
}

/** What a page says that nobody looks at: who asks, else who looks on. */
export function attentionOf(session: Session, now: number): string | null {
  const asked = questionOf(session, now);
  if (asked !== null) return `${asked.watcher.name} asks to look on`;
  const names = onlookersOf(session, now).map((watch) => watch.watcher.name);
  if (names.length === 0) return null;
  return `${names.join(' and ')} ${names.length === 1 ? 'is' : 'are'} looking on`;
}

/** Why it is over, as whoever wanted to look on reads it. */
export function overWords(watch: Watch, session: Session): string {
  switch (watch.state) {
    case 'declined':
      return `${session.user.name} declined.`;
    case 'expired':
      if (watch.seen) return `${session.user.name} did not answer within a minute.`;
      return `Nobody was at the desktop: no page of ${session.user.name}’s shows it.`;
    case 'withdrawn':
      return 'You took the question back.';
    case 'ended':
      return `${sentenceOf(watch.because)}.`;
    case 'asked':
    case 'allowed':
      return '';
  }
}

function sentenceOf(because: string | null): string {
  const words = because ?? 'it was ended';
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}
