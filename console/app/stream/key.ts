/**
 * The key of one stream: P-256, made in this page, never able to leave it. Whoever holds it may attach to the stream, so a
 * relay that saw the ticket cannot.
 *
 * WebCrypto exists in secure contexts only (HTTPS and localhost). Elsewhere there is no key, the ticket is bound to none,
 * and the stream cannot be resumed.
 */

export interface StreamKey {
  /** The public point, uncompressed: 65 bytes, the first 0x04. */
  publicKey: Uint8Array;
  /** The RFC 7638 thumbprint, as `jkt` of a connect request. */
  thumbprint: string;
  /** `r || s`, 64 bytes. */
  sign(text: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;

export async function createStreamKey(): Promise<StreamKey | null> {
  const subtle = (globalThis.crypto as Partial<Crypto>).subtle;
  if (!subtle) return null;
  const pair = await subtle.generateKey(algorithm, false, ['sign', 'verify']);
  const publicKey = new Uint8Array(await subtle.exportKey('raw', pair.publicKey));
  const digest = await subtle.digest('SHA-256', new TextEncoder().encode(thumbprintInput(publicKey)));
  return {
    publicKey,
    thumbprint: base64url(new Uint8Array(digest)),
    sign: async (text) => {
      const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, text);
      return new Uint8Array(signature);
    },
  };
}

/** The required members of the key as JSON, in the order and form that RFC 7638 hashes. */
export function thumbprintInput(publicKey: Uint8Array): string {
  const x = base64url(publicKey.subarray(1, 33));
  const y = base64url(publicKey.subarray(33, 65));
  return `{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`;
}

export function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
