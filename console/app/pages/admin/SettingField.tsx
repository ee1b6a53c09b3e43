import { NativeSelect, NumberInput, TextInput } from '@mantine/core';
import type { Setting, SettingValue } from '../../api/types';
import { settingName, shownValue } from './settingWords';

interface Props {
  setting: Setting;
  /** Null: the group leaves it to others. */
  value: SettingValue;
  error: string | null;
  onChange: (value: SettingValue) => void;
}

/** One setting of a policy, to be edited as what it is. Empty leaves it to other groups. */
export function SettingField({ setting, value, error, onChange }: Props) {
  const label = settingName(setting.name);
  const shared = { label, description: setting.meaning, error };
  const left = `left to others (default: ${shownValue(setting.default)})`;
  if (setting.kind === 'number' || setting.kind === 'cores') {
    return (
      <NumberInput
        {...shared}
        placeholder={left}
        allowDecimal={setting.kind === 'cores'}
        min={0}
        value={typeof value === 'number' ? value : ''}
        onChange={(next) => onChange(next === '' ? null : Number(next))}
      />
    );
  }
  if (setting.kind === 'switch' || setting.kind === 'words') {
    const words = setting.kind === 'switch' ? ['yes', 'no'] : setting.words;
    return (
      <NativeSelect
        {...shared}
        data={[{ value: '', label: left }, ...words]}
        value={value === null ? '' : shownValue(value)}
        onChange={(event) => {
          const word = event.currentTarget.value;
          if (word === '') onChange(null);
          else onChange(setting.kind === 'switch' ? word === 'yes' : word);
        }}
      />
    );
  }
  const text = Array.isArray(value) ? value.join(', ') : typeof value === 'string' ? value : '';
  return (
    <TextInput
      {...shared}
      placeholder={left}
      defaultValue={text}
      onBlur={(event) => {
        const written = event.currentTarget.value.trim();
        if (written === text) return;
        if (written === '') onChange(null);
        else onChange(setting.kind === 'zone' ? written : written.split(',').map((zone) => zone.trim()).filter(Boolean));
      }}
    />
  );
}
