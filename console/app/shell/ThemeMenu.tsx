import { ActionIcon, Menu, useMantineColorScheme } from '@mantine/core';
import { CheckIcon, MoonIcon, SunIcon, SystemThemeIcon } from '../ui/icons';

const choices = [
  { value: 'auto', label: 'Like the system', icon: SystemThemeIcon },
  { value: 'light', label: 'Light', icon: SunIcon },
  { value: 'dark', label: 'Dark', icon: MoonIcon },
] as const;

export function ThemeMenu() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const current = choices.find((choice) => choice.value === colorScheme) ?? choices[0];
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label="Colours" title="Colours">
          <current.icon />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {choices.map((choice) => (
          <Menu.Item
            key={choice.value}
            role="menuitemradio"
            aria-checked={choice.value === colorScheme}
            leftSection={<choice.icon />}
            rightSection={choice.value === colorScheme ? <CheckIcon /> : null}
            onClick={() => setColorScheme(choice.value)}
          >
            {choice.label}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
