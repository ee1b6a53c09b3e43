import { expect, test } from 'vitest';
import { placeOf } from './place';

const choice = { zone: 'london', because: 'it is the nearest to you, as measured', elsewhere_because: null, distance_ms: 11.6, meant_distance_ms: 11.6 };

test('a session says why it runs where it was meant to, and how far that is', () => {
  expect(placeOf({ zone: 'london', choice })).toEqual({
    where: 'london, 12 ms away',
    why: 'It runs there because it is the nearest to you, as measured.',
    elsewhere: false,
  });
});

test('a session that runs elsewhere says what was lacking, and what that costs', () => {
  const place = placeOf({ zone: 'virginia', choice: { ...choice, elsewhere_because: 'none of its agents fits', distance_ms: 82.2 } });
  expect(place.elsewhere).toBe(true);
  expect(place.where).toBe('virginia, 82 ms away');
  expect(place.why).toContain('It was meant for london, because it is the nearest to you, as measured. What london said: none of its agents fits.');
  expect(place.why).toContain('Expect 82 ms there and back instead of 12 ms.');
});

test('what was not measured is not said', () => {
  const place = placeOf({ zone: 'virginia', choice: { ...choice, elsewhere_because: 'none of its agents fits', distance_ms: null, meant_distance_ms: null } });
  expect(place.where).toBe('virginia');
  expect(place.why).not.toContain('ms');
});

test('a server of the release before says nothing of a choice', () => {
  expect(placeOf({ zone: 'london' } as Parameters<typeof placeOf>[0])).toEqual({ where: 'london', why: null, elsewhere: false });
});
