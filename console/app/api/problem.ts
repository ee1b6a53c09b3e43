/**
 * What went wrong, in the form that a person reads: what, at which hop, what to do, and how placement decided. Made from the
 * server's error envelope, or from the lack of an answer.
 */

import type { Candidate } from './types';

export interface ProblemDetails {
  /** The HTTP status, or 0 when no answer came. */
  status: number;
  code: string;
  message: string;
  hop: string | null;
  hint: string | null;
  explanation: Candidate[];
  requestId: string | null;
  /** What is wrong with single fields of what was sent. */
  fields: { field: string; message: string }[];
  /** Seconds after which the server would listen again, when it said so. */
  retryAfter: number | null;
}

export class Problem extends Error {
  override name = 'Problem';
  constructor(readonly details: ProblemDetails) {
    super(details.message);
  }

  get signedOut(): boolean {
    return this.details.status === 401 && this.details.code !== 'bad_credentials';
  }

  /** Nothing but choosing a new password is allowed. */
  get passwordDue(): boolean {
    return this.details.code === 'password_change_required';
  }

  /** The home that is kept for the person cannot be had now: in use, on a machine that is away, or in another zone. */
  get homeless(): boolean {
    return this.details.code.startsWith('home_');
  }

  /** What is said against one field. */
  at(field: string): string | null {
    return this.details.fields.find((entry) => entry.field === field)?.message ?? null;
  }

  /** The request may never have reached a server, or the server could not serve it just now. */
  get temporary(): boolean {
    return this.details.status === 0 || this.details.status === 502 || this.details.status === 504;
  }
}

/** The problem in an answer that is not a success. `body` is what was parsed from it, whatever that is. */
export function problemFromAnswer(response: Response, body: unknown): Problem {
  const error = field(body, 'error');
  return new Problem({
    status: response.status,
    code: text(field(error, 'code')) ?? `http_${response.status}`,
    message: text(field(error, 'message')) ?? unexplained(response.status),
    hop: text(field(error, 'hop')) ?? (error === undefined ? 'between this browser and Meridian' : null),
    hint: text(field(error, 'hint')) ?? (error === undefined ? 'Try again. If it stays, tell your administrator.' : null),
    explanation: candidates(field(error, 'explanation')),
    fields: judged(error),
    requestId: text(field(error, 'request_id')),
    retryAfter: seconds(response.headers.get('Retry-After')),
  });
}

export function problemFromSilence(timedOut: boolean): Problem {
  return new Problem({
    status: 0,
    code: timedOut ? 'timeout' : 'no_answer',
    message: timedOut ? 'Meridian took too long to answer.' : 'Meridian could not be reached.',
    hop: 'between this browser and Meridian',
    hint: 'Check your network connection, then try again. Running workspaces are not affected.',
    explanation: [],
    fields: [],
    requestId: null,
    retryAfter: null,
  });
}

/** Any thrown thing as a problem, so that every page can show it in the same way. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem({
    status: 0,
    code: 'console',
    message: error instanceof Error ? error.message : 'Something unexpected happened.',
    hop: 'in this browser',
    hint: 'Reload the page. If it stays, tell your administrator.',
    explanation: [],
    fields: [],
    requestId: null,
    retryAfter: null,
  });
}

function unexplained(status: number): string {
  if (status === 502 || status === 503 || status === 504) return 'Meridian is not available at the moment.';
  return `Meridian answered with status ${status}.`;
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function candidates(value: unknown): Candidate[] {
  if (!Array.isArray(value)) return [];
  return value.map((entry: unknown) => ({
    zone: text(field(entry, 'zone')) ?? '',
    agent: text(field(entry, 'agent')) ?? '',
    verdict: text(field(entry, 'verdict')) ?? '',
  }));
}

/** What a form may call the name that is taken already: the server says only that it is. */
const NAMES = ['name', 'username', 'zone_name'];

function judged(error: unknown): { field: string; message: string }[] {
  const given = fields(field(error, 'fields'));
  if (given.length > 0 || field(error, 'code') !== 'name_taken') return given;
  return NAMES.map((name) => ({ field: name, message: text(field(error, 'message')) ?? 'is taken' }));
}

function fields(value: unknown): { field: string; message: string }[] {
  if (!Array.isArray(value)) return [];
  return value.map((entry: unknown) => ({
    field: text(field(entry, 'field')) ?? '',
    message: text(field(entry, 'message')) ?? '',
  }));
}

function seconds(header: string | null): number | null {
  const value = header === null ? Number.NaN : Number.parseInt(header, 10);
  return Number.isFinite(value) && value > 0 ? value : null;
}
