import { NativeSelect, NumberInput, TextInput } from '@mantine/core';
import { useState } from 'react';
import type { Setting, SettingValue } from '../../api/types';
import { listOf } from './listText';
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
  return <ZonesField {...shared} placeholder={left} single={setting.kind === 'zone'} value={value} onChange={onChange} />;
}

interface ZonesProps {
  label: string;
  description: string;
  error: string | null;
  placeholder: string;
  /** One zone, and no list of them. */
  single: boolean;
  value: SettingValue;
  onChange: (value: SettingValue) => void;
}

/** Names as they are typed, commas and all, until somebody leaves the field. */
function ZonesField({ single, value, onChange, ...shared }: ZonesProps) {
  const [typed, setTyped] = useState<string | null>(null);
  const text = Array.isArray(value) ? value.join(', ') : typeof value === 'string' ? value : '';
  return (
    <TextInput
      {...shared}
      value={typed ?? text}
      onChange={(event) => {
        const written = event.currentTarget.value;
        setTyped(written);
        const zones = listOf(written);
        if (zones.length === 0) onChange(null);
        else onChange(single ? written.trim() : zones);
      }}
      onBlur={() => setTyped(null)}
    />
  );
}
