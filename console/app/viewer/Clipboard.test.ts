// @vitest-environment happy-dom
import { beforeEach, expect, test, vi } from 'vitest';
import { SharedClipboard } from './Clipboard';

let local: string;
let mayWrite: boolean;
let mayRead: PermissionState;
let sent: string[];
let shown: string[];
let clipboard: SharedClipboard;

beforeEach(() => {
  local = '';
  mayWrite = true;
  mayRead = 'granted';
  sent = [];
  shown = [];
  vi.spyOn(document, 'hasFocus').mockReturnValue(true);
  vi.spyOn(navigator.clipboard, 'writeText').mockImplementation((text) => {
    if (!mayWrite) return Promise.reject(new Error('no gesture'));
    local = text;
    return Promise.resolve();
  });
  vi.spyOn(navigator.clipboard, 'readText').mockImplementation(() => Promise.resolve(local));
  vi.spyOn(navigator.permissions, 'query').mockImplementation(() =>
    Promise.resolve({ state: mayRead } as PermissionStatus),
  );
  clipboard = new SharedClipboard({
    send: (text) => {
      sent.push(text);
      return true;
    },
    changed: (text) => shown.push(text),
  });
  clipboard.start();
  return () => clipboard.stop();
});

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

test('what the workspace copies is written here', async () => {
  clipboard.received('from there');
  await settle();
  expect(local).toBe('from there');
  expect(shown).toEqual(['from there']);
});

test('where writing needs a gesture, the next key or click writes it', async () => {
  mayWrite = false;
  clipboard.received('from there');
  await settle();
  expect(local).toBe('');
  mayWrite = true;
  window.dispatchEvent(new Event('pointerdown'));
  await settle();
  expect(local).toBe('from there');
});

test('what was copied here is sent when the page gets the focus, once', async () => {
  local = 'from here';
  window.dispatchEvent(new Event('focus'));
  await settle();
  window.dispatchEvent(new Event('focus'));
  await settle();
  expect(sent).toEqual(['from here']);
});

test('nothing is read where the browser would have to ask', async () => {
  local = 'private';
  mayRead = 'prompt';
  window.dispatchEvent(new Event('focus'));
  await settle();
  expect(sent).toEqual([]);
});

test('what came from the workspace is not sent back to it', async () => {
  clipboard.received('from there');
  await settle();
  window.dispatchEvent(new Event('focus'));
  await settle();
  expect(sent).toEqual([]);
});

test('an old text here does not overwrite a newer one that could not be written yet', async () => {
  local = 'old';
  mayWrite = false;
  clipboard.received('new');
  window.dispatchEvent(new Event('focus'));
  await settle();
  expect(sent).toEqual([]);
});

test('nor does a paste of that old text; a text copied here since does', async () => {
  clipboard.found('old');
  mayWrite = false;
  clipboard.received('new');
  await settle();
  expect(clipboard.found('old')).toBe(false);
  expect(clipboard.found('newest')).toBe(true);
  expect(sent).toEqual(['old', 'newest']);
});

test('what is put there by hand is here as well, so that the next paste does not undo it', async () => {
  local = 'old';
  expect(clipboard.put('by hand')).toBe(true);
  await settle();
  expect(local).toBe('by hand');
  expect(clipboard.found(local)).toBe(false);
  expect(sent).toEqual(['by hand']);
});

test('the same text may be put again', () => {
  clipboard.put('x');
  clipboard.put('x');
  expect(sent).toEqual(['x', 'x']);
});

test('a text that could not be sent is tried again', () => {
  let works = false;
  const moody = new SharedClipboard({ send: () => works, changed: () => undefined });
  expect(moody.found('x')).toBe(false);
  works = true;
  expect(moody.found('x')).toBe(true);
  expect(moody.found('x')).toBe(false);
});
