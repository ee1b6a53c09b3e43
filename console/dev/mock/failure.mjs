import { randomUUID } from 'node:crypto';

/** An error as the API has them. */
export function failure(code, message, more = {}) {
  return { error: { code, message, request_id: `req-${randomUUID().slice(0, 8)}`, ...more } };
}
