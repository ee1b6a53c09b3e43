import { expect, test } from 'vitest';
import { base64url, createStreamKey, thumbprintInput } from './key';

test('the public key is an uncompressed point, and its thumbprint that of RFC 7638', async () => {
  const key = await createStreamKey();
  expect(key?.publicKey).toHaveLength(65);
  expect(key?.publicKey[0]).toBe(4);
  const input = thumbprintInput(key?.publicKey ?? new Uint8Array());
  const members = JSON.parse(input) as Record<string, string>;
  expect(Object.keys(members)).toEqual(['crv', 'kty', 'x', 'y']);
  expect(members.x).toHaveLength(43);
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(input));
  expect(key?.thumbprint).toBe(base64url(new Uint8Array(digest)));
});

test('a signature is r and s, and verifies against the public point', async () => {
  const key = await createStreamKey();
  if (!key) throw new Error('no WebCrypto');
  const text = new TextEncoder().encode('meridian.v1 attach\0');
  const signature = await key.sign(text);
  expect(signature).toHaveLength(64);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const point = await crypto.subtle.importKey('raw', key.publicKey.slice(), algorithm, true, ['verify']);
  expect(await crypto.subtle.verify(algorithm, point, signature.slice(), text)).toBe(true);
});

test('base64url has no padding and no characters that URLs escape', () => {
  expect(base64url(Uint8Array.of(0xfb, 0xff, 0xfe, 0x01))).toBe('-__-AQ');
});
