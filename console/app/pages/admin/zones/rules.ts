/**
 * What is wrong with a zone's settings, field by field, while they are typed. The server judges by the same rules, and by what
 * only it knows; what it says stands above this.
 */

import { labelsOf, listOf } from '../listText';
import type { Field, ZoneForm } from './settings';

export type Wrong = Partial<Record<Field, string>>;

const REQUEST_HOST = '$request_host$';
/** Ways into a zone besides the first. */
const MOST_ENTRIES = 8;
/** A month. */
const LONGEST_GRACE_S = 31 * 24 * 60 * 60;

/** `zones` are the names of those that are there. */
export function check(form: ZoneForm, zones: string[]): Wrong {
  return Object.fromEntries(Object.entries(judged(form, zones)).filter(([, message]) => message !== null));
}

function judged(form: ZoneForm, zones: string[]): Partial<Record<Field, string | null>> {
  return {
    zone_name: /^(?!-)[a-z0-9-]{1,40}(?<!-)$/.test(form.zone_name) ? null : 'It has 1 to 40 of a-z, 0-9 and - (not at its ends).',
    labels: labelsOf(form.labels) === null ? 'Write each as name=value, with commas between.' : null,
    search_alternate_zones: form.isolated && form.search_alternate_zones ? 'An isolated zone borrows nothing: turn one of the two off.' : null,
    alternate_zones: alternates(form, zones),
    proxy_hostname: form.proxy_hostname === REQUEST_HOST || isHost(form.proxy_hostname) ? null : 'A host name alone, without https://, port and path, or $request_host$.',
    proxy_port: isWhole(form.proxy_port, 65_535) ? null : 'A port from 1 to 65535, or 0 for the port of the page.',
    proxy_alternates: entries(form.proxy_alternates),
    proxy_path: path(form.proxy_path),
    allow_origin_domain: isHostAndPort(withoutScheme(form.allow_origin_domain)) ? null : 'An origin, such as https://work.example.org, or $request_host$.',
    upstream_auth_address: isUpstream(form.upstream_auth_address) ? null : 'An address such as https://work.example.org, without a path, or nothing.',
    private_balancer: isBalancer(form.private_balancer) ? null : 'host:port, or nothing.',
    home_storage: isFolder(form.home_storage) ? null : 'The path of a folder on its agents, such as /srv/homes, or nothing.',
    outage_grace: isWhole(form.outage_grace, LONGEST_GRACE_S) ? null : 'Seconds, at most 31 days (2678400).',
  };
}

function alternates({ alternate_zones: text, zone_name: own, isolated }: ZoneForm, zones: string[]): string | null {
  const names = listOf(text);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  const unknown = names.find((name) => !zones.includes(name));
  if (isolated && names.length > 0) return 'An isolated zone borrows nothing: it has no alternates.';
  if (names.includes(own)) return 'It cannot be its own alternate.';
  if (twice !== undefined) return `${twice} is named twice.`;
  if (unknown !== undefined) return `There is no zone ${unknown}. There are: ${zones.filter((name) => name !== own).join(', ') || 'no others'}.`;
  return null;
}

function entries(text: string): string | null {
  const addresses = listOf(text);
  const twice = addresses.find((address, at) => addresses.indexOf(address) !== at);
  if (addresses.length > MOST_ENTRIES) return `At most ${MOST_ENTRIES}.`;
  if (twice !== undefined) return `${twice} is named twice.`;
  return addresses.every(isHostAndPort) ? null : 'Each is host or host:port, without https:// and path; with commas between.';
}

function path(text: string): string | null {
  const bare = text.replace(/^\/+|\/+$/g, '');
  if (bare === 'api' || bare.startsWith('api/')) return "Not api, which is the Web App's own.";
  const fits = /^[A-Za-z0-9\-_.~/]{1,128}$/.test(bare) && !bare.includes('//') && !bare.includes('..');
  return fits ? null : 'It has 1 to 128 of a-z, A-Z, 0-9, - _ . ~ and single slashes.';
}

function isWhole(value: number | '', most: number): boolean {
  return value !== '' && Number.isInteger(value) && value >= 0 && value <= most;
}

function withoutScheme(address: string): string {
  return address.replace(/^https?:\/\//, '');
}

function isUpstream(address: string): boolean {
  return address === '' || (/^https?:\/\//.test(address) && isHostAndPort(withoutScheme(address).replace(/\/+$/, '')));
}

function isBalancer(address: string): boolean {
  return address === '' || (/:\d+$/.test(address) && isHostAndPort(address));
}

/** A path from the root, without detours. */
function isFolder(path: string): boolean {
  const parts = path.slice(1).split('/');
  return path === '' || (/^\/[A-Za-z0-9\-_./]{1,199}$/.test(path) && parts.every((part) => part !== '' && part !== '.' && part !== '..'));
}

/** A name of the DNS, an address, or the host that is asked for. */
function isHost(text: string): boolean {
  if (/^\[[0-9a-fA-F:.]+\]$/.test(text)) return true;
  const labels = text.replaceAll(REQUEST_HOST, 'x').split('.');
  return text.length <= 253 && labels.every((label) => /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/.test(label));
}

function isHostAndPort(text: string): boolean {
  const match = /^(.*):(\d{1,5})$/.exec(text);
  if (!match) return isHost(text);
  const port = Number(match[2]);
  return isHost(match[1] ?? '') && port > 0 && port <= 65_535;
}
