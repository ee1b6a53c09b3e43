/** Keys that a browser or an operating system keeps for itself, as sequences that the viewer can send instead. */

export interface Key {
  /** X11 keysym. */
  keysym: number;
  /** The `KeyboardEvent.code` of the same key, for servers that take scan codes. */
  code: string;
}

export const controlLeft: Key = { keysym: 0xffe3, code: 'ControlLeft' };
const shiftLeft: Key = { keysym: 0xffe1, code: 'ShiftLeft' };
const altLeft: Key = { keysym: 0xffe9, code: 'AltLeft' };
const superLeft: Key = { keysym: 0xffeb, code: 'MetaLeft' };
const escape: Key = { keysym: 0xff1b, code: 'Escape' };
const tab: Key = { keysym: 0xff09, code: 'Tab' };
const del: Key = { keysym: 0xffff, code: 'Delete' };
const printScreen: Key = { keysym: 0xff61, code: 'PrintScreen' };
export const backspace: Key = { keysym: 0xff08, code: 'Backspace' };
export const enter: Key = { keysym: 0xff0d, code: 'Enter' };

function functionKey(number: number): Key {
  return { keysym: 0xffbd + number, code: `F${number}` };
}

function letter(name: string): Key {
  return { keysym: name.codePointAt(0) ?? 0, code: `Key${name.toUpperCase()}` };
}

export interface KeyCombination {
  label: string;
  keys: Key[];
}

export const combinations: readonly KeyCombination[] = [
  { label: 'Ctrl-Alt-Del', keys: [controlLeft, altLeft, del] },
  { label: 'Ctrl-Alt-Backspace', keys: [controlLeft, altLeft, backspace] },
  { label: 'Alt-Tab', keys: [altLeft, tab] },
  { label: 'Alt-F4', keys: [altLeft, functionKey(4)] },
  { label: 'Alt-F2', keys: [altLeft, functionKey(2)] },
  { label: 'Ctrl-W', keys: [controlLeft, letter('w')] },
  { label: 'Ctrl-Shift-T', keys: [controlLeft, shiftLeft, letter('t')] },
  { label: 'Super', keys: [superLeft] },
  { label: 'Esc', keys: [escape] },
  { label: 'F11', keys: [functionKey(11)] },
  { label: 'Print Screen', keys: [printScreen] },
];

/** The X11 keysym that types a character: Latin-1 is itself, the rest of Unicode lies above 0x01000000. */
export function keysymOf(character: string): number {
  const point = character.codePointAt(0) ?? 0;
  if (character === '\n' || character === '\r') return enter.keysym;
  if (character === '\t') return tab.keysym;
  if ((point >= 0x20 && point <= 0x7e) || (point >= 0xa0 && point <= 0xff)) return point;
  return 0x0100_0000 + point;
}
