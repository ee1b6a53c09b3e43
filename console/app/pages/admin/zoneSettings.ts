import type { Zone } from '../../api/types';
import type { Fact } from '../../ui/Facts';

/** A zone's settings in the order of the operator's manual, by the names that the API and the zone's file use. */
export function zoneSettings(zone: Zone): Fact[] {
  return [
    { name: 'id', value: zone.id },
    { name: 'zone_name', value: zone.zone_name },
    { name: 'allow_origin_domain', value: text(zone.allow_origin_domain) },
    { name: 'upstream_auth_address', value: text(zone.upstream_auth_address) },
    { name: 'load_strategy', value: text(zone.load_strategy) },
    { name: 'search_alternate_zones', value: yesNo(zone.search_alternate_zones) },
    { name: 'alternate_zones', value: alternates(zone.alternate_zones) },
    { name: 'isolated', value: yesNo(zone.isolated) },
    { name: 'prioritize_static_agents', value: yesNo(zone.prioritize_static_agents) },
    { name: 'proxy_connections', value: yesNo(zone.proxy_connections) },
    { name: 'proxy_hostname', value: text(zone.proxy_hostname) },
    { name: 'proxy_path', value: text(zone.proxy_path) },
    { name: 'proxy_port', value: zone.proxy_port === 0 ? '0 (the port of the page)' : text(zone.proxy_port) },
    { name: 'outage_grace', value: grace(zone.outage_grace) },
    { name: 'private_balancer', value: text(zone.private_balancer) },
  ];
}

function text(value: string | number | null | undefined): string {
  return value === null || value === undefined || value === '' ? '—' : String(value);
}

function grace(seconds: number | undefined): string {
  if (seconds === undefined) return '—';
  return seconds === 0 ? '0 (no resume during an outage)' : `${seconds} s (${Number((seconds / 3600).toFixed(1))} h)`;
}

function yesNo(value: boolean | undefined): string {
  if (value === undefined) return '—';
  return value ? 'yes' : 'no';
}

function alternates(zones: string[] | undefined): string {
  if (zones === undefined) return '—';
  return zones.length === 0 ? 'any' : zones.join(', ');
}
