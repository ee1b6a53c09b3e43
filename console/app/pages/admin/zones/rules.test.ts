import { expect, test } from 'vitest';
import { check } from './rules';
import { type ZoneForm, formOf, fresh, patchOf } from './settings';

const zones = ['london', 'virginia', 'singapore'];
const wrong = (change: Partial<ZoneForm>) => Object.keys(check({ ...fresh, zone_name: 'london', ...change }, zones));

test('what a zone is usually made of is right', () => {
  expect(wrong({})).toEqual([]);
  expect(
    wrong({
      allow_origin_domain: 'https://work.example.org:8443',
      upstream_auth_address: 'https://work.example.org/',
      proxy_hostname: 'london.example.org',
      proxy_path: '/desktop-london/',
      proxy_port: 443,
      proxy_alternates: 'b.$request_host$, [fd00::2]:8443',
      private_balancer: '[fd00::1]:7443',
      home_storage: '/srv/homes',
      search_alternate_zones: true,
      alternate_zones: 'virginia, singapore',
      labels: 'disk=fast',
    }),
  ).toEqual([]);
  expect(wrong({ upstream_auth_address: 'http://$request_host$:8080', private_balancer: '127.0.0.1:7443' })).toEqual([]);
});

test.each<[keyof ZoneForm, Partial<ZoneForm>]>([
  ['zone_name', { zone_name: '' }],
  ['zone_name', { zone_name: 'London' }],
  ['zone_name', { zone_name: 'a'.repeat(41) }],
  ['zone_name', { zone_name: '-a' }],
  ['zone_name', { zone_name: 'zürich' }],
  ['allow_origin_domain', { allow_origin_domain: '' }],
  ['allow_origin_domain', { allow_origin_domain: 'https://a.example.org/path' }],
  ['upstream_auth_address', { upstream_auth_address: 'work.example.org' }],
  ['upstream_auth_address', { upstream_auth_address: 'https://a b' }],
  ['proxy_hostname', { proxy_hostname: 'https://london.example.org' }],
  ['proxy_hostname', { proxy_hostname: 'x'.repeat(300) }],
  ['proxy_port', { proxy_port: 65_536 }],
  ['proxy_port', { proxy_port: '' }],
  ['proxy_alternates', { proxy_alternates: 'https://b.example.org' }],
  ['proxy_alternates', { proxy_alternates: 'b.example.org, b.example.org' }],
  ['proxy_path', { proxy_path: '///' }],
  ['proxy_path', { proxy_path: 'api' }],
  ['proxy_path', { proxy_path: 'a/../b' }],
  ['outage_grace', { outage_grace: 2_678_401 }],
  ['outage_grace', { outage_grace: 0.5 }],
  ['private_balancer', { private_balancer: 'balancer' }],
  ['private_balancer', { private_balancer: 'balancer:0' }],
  ['home_storage', { home_storage: 'srv/homes' }],
  ['home_storage', { home_storage: '/srv/../etc' }],
  ['alternate_zones', { alternate_zones: 'virginia, virginia' }],
  ['alternate_zones', { alternate_zones: 'london' }],
  ['alternate_zones', { alternate_zones: 'atlantis' }],
  ['alternate_zones', { isolated: true, alternate_zones: 'virginia' }],
  ['search_alternate_zones', { isolated: true, search_alternate_zones: true }],
  ['labels', { labels: 'disk' }],
])('%s is judged at its field: %o', (field, change) => {
  expect(wrong(change)).toEqual([field]);
});

test('the server is told only what was changed', () => {
  const before = formOf({ id: 'z', name: 'london', zone_name: 'london', default: true, alternate_zones: ['virginia'], labels: { disk: 'fast' } });
  expect(patchOf(before, before)).toEqual({});
  expect(patchOf({ ...before, alternate_zones: 'singapore, virginia', labels: '', proxy_hostname: ' a.example.org ', isolated: true }, before)).toEqual({
    alternate_zones: ['singapore', 'virginia'],
    labels: {},
    proxy_hostname: 'a.example.org',
    isolated: true,
  });
});
