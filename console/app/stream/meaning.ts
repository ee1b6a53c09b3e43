/** What the agent's REFUSED and NOTICE ask of a viewer, by docs/integrators/stream.md. */

import type { PathId } from './core';
import type { Code } from './frames';

/** What the agent said of a path. */
export interface Word {
  type: 'refused' | 'notice';
  path: PathId;
  code: Code;
  message: string;
  /** This viewer has sent a later ATTACH on another path. */
  overtaken: boolean;
}

/**
 * `stop`: there is nothing to come back to. `revoked`: only what is granted anew may lead back. `newKey`: the stream is another key's.
 * `leave`: this path is of no use any more. `another`: one is wanted beside it. `clipboard`: policy forbids a text.
 */
export type Meaning = 'stop' | 'revoked' | 'newKey' | 'leave' | 'another' | 'clipboard' | 'nothing';

/** `hasLater`: a later path than the word's is there or being opened. */
export function meaningOf(word: Word, hasLater: boolean): Meaning {
  return word.type === 'refused' ? refusal(word) : notice(word, hasLater);
}

function refusal({ code, overtaken }: Word): Meaning {
  switch (code) {
    case 'superseded':
      return overtaken ? 'leave' : 'stop';
    case 'ended':
    case 'idle':
    case 'protocol':
      return 'stop';
    case 'revoked':
      return 'revoked';
    case 'key':
      return 'newKey';
    case 'display_unavailable':
    case 'draining':
    case 'clipboard_refused':
    case 'unknown':
      return 'leave';
  }
}

function notice({ code, overtaken }: Word, hasLater: boolean): Meaning {
  switch (code) {
    case 'superseded':
      // By this page itself, where it has attached on a later path or is about to: whoever has another key has another stream.
      if (overtaken) return 'leave';
      return hasLater ? 'nothing' : 'stop';
    case 'ended':
    case 'idle':
      // Also where nobody was there: whoever comes back says so.
      return 'stop';
    case 'revoked':
      return 'revoked';
    case 'draining':
      return 'another';
    case 'clipboard_refused':
      return 'clipboard';
    case 'display_unavailable':
      return 'leave';
    case 'protocol':
    case 'key':
    case 'unknown':
      return 'nothing';
  }
}
