import { NativeSelect, NumberInput, Switch, TextInput } from '@mantine/core';
import { type Field, type ZoneForm, imagePolicies, strategies } from './settings';

interface Props {
  field: Field;
  meaning: string;
  form: ZoneForm;
  error: string | null;
  onChange: (change: Partial<ZoneForm>) => void;
}

/** One setting of a zone, as what it is: by its name in the API and in files, with what it means and what is wrong with it. */
export function ZoneField({ field, meaning, form, error, onChange }: Props) {
  const value = form[field];
  const shared = { label: field, description: meaning, error };
  if (typeof value === 'boolean') {
    return (
      <Switch
        {...shared}
        // The meaning describes it and is no part of its name.
        aria-label={field}
        checked={value}
        onChange={(event) => onChange({ [field]: event.currentTarget.checked })}
      />
    );
  }
  if (field === 'proxy_port' || field === 'outage_grace') {
    return (
      <NumberInput
        {...shared}
        min={0}
        allowDecimal={false}
        value={value}
        onChange={(next) => onChange({ [field]: next === '' ? '' : Number(next) })}
      />
    );
  }
  if (field === 'load_strategy') {
    return (
      <NativeSelect
        {...shared}
        data={strategies.map((strategy) => ({ value: strategy, label: strategy.replaceAll('_', ' ') }))}
        value={value}
        onChange={(event) => onChange({ load_strategy: event.currentTarget.value })}
      />
    );
  }
  if (field === 'image_policy') {
    return <NativeSelect {...shared} data={[...imagePolicies]} value={value} onChange={(event) => onChange({ image_policy: event.currentTarget.value })} />;
  }
  return (
    <TextInput
      {...shared}
      value={value}
      autoComplete="off"
      autoCapitalize="none"
      spellCheck={false}
      onChange={(event) => onChange({ [field]: event.currentTarget.value })}
    />
  );
}
