import type { Refusal } from '../../api/types';
import { settingName } from './settingWords';

/** Why a launch was refused, in the words of a page. */
export function refusalWords({ outcome, setting }: Pick<Refusal, 'outcome' | 'setting'>): string {
  const named = setting === null ? '' : ` (${settingName(setting)})`;
  switch (outcome) {
    case 'capacity':
      return 'no place was left';
    case 'limit':
      return `as many sessions as allowed${named}`;
    case 'policy':
      return `policy does not allow it${named}`;
    case 'not_offered':
      return 'not offered in any zone that may be asked';
    case 'home':
      return 'its home could not be had';
    default:
      // A reason of a later release.
      return outcome.replaceAll('_', ' ') + named;
  }
}
