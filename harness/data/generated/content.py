"""What generated pages say: names and addresses from Faker, put into the sentences of ordinary papers."""

import random
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache

from faker import Faker

_BUSINESS = (
    "Thank you for your letter of {date} regarding order no. {code}.",
    "We confirm that {count} units of the article {item} left our warehouse in {city} on {date}.",
    "The balance of {money} remains outstanding, and we would be grateful for payment by {date}.",
    "As agreed with {person} by telephone, the revised price is {money} per unit, a reduction of {percent}.",
    "Please find enclosed a copy of the contract, signed by both parties, together with our price list.",
    "Should you have any questions, do not hesitate to call {person} on {phone}.",
    "Our records show that the goods were returned on {date} because the packaging was damaged.",
    "We regret the delay, which was caused by a shortage of parts at our supplier in {city}.",
    "The inspection at {street} has been moved to {date} at {time}.",
    "Your account manager, {person}, will contact you within five working days.",
    "In accordance with section {small} of the agreement, either party may give notice of {small} weeks.",
    "The enclosed statement covers the period from {date} to {date} and shows {count} transactions.",
    "We have credited {money} to your account; the amount will appear on your next statement.",
    "Kindly quote the reference {code} in all further correspondence.",
    "The committee reviewed {count} applications and decided to approve yours subject to two conditions.",
    "Delivery to {city} takes {small} days; express delivery is available for an extra charge of {money}.",
    "Insurance for the building is provided by {company} under policy number {code}.",
    "All prices are quoted without tax and are valid until {date}.",
)
_REPORTING = (
    "The new bridge at {city} was opened on {date} after {small} years of work and at a cost of {money}.",
    "“Nobody expected the figures to fall so quickly,” said {person}, who has led the survey since {year}.",
    "A study of {count} households found that {percent} of them had changed their supplier within a year.",
    "In {year} the town had {count} inhabitants; today it has more than twice as many.",
    "Farmers near {city} report that the harvest was {percent} larger than in {year}.",
    "The council will vote on the plan in {month}, and the first houses could be ready two years later.",
    "Critics point out that the old station on {street} was never meant to carry so many passengers.",
    "“It's a question of trust,” {person} wrote in a letter to the members – few of them answered.",
    "Prices rose by {percent} in {month}, the third increase in a row, while wages hardly moved.",
    "The library holds {count} books, among them a rare atlas that was printed in {year}.",
    "Engineers measured the water level every {small} minutes during the night of {date}.",
    "What began as a small workshop with {small} employees is now one of the largest firms of the region.",
    "According to {company}, the repair will take until {month} and require {small} closures of the road.",
    "The museum shows {small} paintings that had been thought lost since {year}.",
    "Some residents would rather keep the trees, even if that means a longer way to school.",
    "Visitors from {city} came by train, others on foot, and a few crossed the lake in rowing boats.",
    "The weather changed in the afternoon: wind from the north, rain, and by evening the first snow.",
    "Both teams finished with {small} points; the decision was put off until {date}.",
    "The method is simple: each sample is weighed twice, dried for {small} hours and weighed again.",
    "{company} denied the report and announced its own inquiry, led by {person}.",
)
_ITEMS = (
    "Desk lamp", "Office chair", "Filing cabinet", "Copy paper A4", "Ink cartridge", "Extension cable",
    "Wall clock", "Folding table", "Water filter", "Garden hose", "Cordless drill", "Paint roller",
    "Safety gloves", "Door handle", "Light bulb 9W", "Storage box", "Steel shelf", "Tool case", "Air pump",
    "Coffee machine", "Electric kettle", "Notebook ruled", "Ball pen blue", "Desk organizer",
    "Monitor stand", "Network switch", "USB adapter", "Label printer", "Paper shredder", "Packing tape",
)  # fmt: skip
_GROCERIES = (
    "Whole Milk 1L", "Brown Bread", "Butter 250g", "Bananas", "Tomatoes", "Orange Juice", "Ground Coffee",
    "Green Tea", "Rice 1kg", "Olive Oil", "Cheddar Cheese", "Eggs x12", "Chicken Breast", "Apples",
    "Yoghurt", "Dark Chocolate", "Dish Soap", "Paper Towels", "Toothpaste", "Potatoes 2kg", "Onions",
    "Pasta 500g", "Sparkling Water", "Honey",
)  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip


class Writer:
    """Draws content from one random stream. Each method returns new content at each call."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.fake = _faker()
        self.fake.seed_instance(rng.getrandbits(32))

    def letter_paragraph(self) -> str:
        """Two to five sentences of business prose."""
        return self._sentences(_BUSINESS, self.rng.randint(2, 5))

    def article_paragraph(self) -> str:
        """Three to six sentences of reporting."""
        return self._sentences(_REPORTING, self.rng.randint(3, 6))

    def headline(self) -> str:
        """Four to six words with a capital at the start."""
        return str(self.fake.sentence(nb_words=5)).removesuffix(".")

    def item(self) -> str:
        """Something that is sold to offices."""
        return self.rng.choice(_ITEMS)

    def grocery(self) -> str:
        """Something that is sold in shops."""
        return self.rng.choice(_GROCERIES)

    def person(self) -> str:
        """First and last name."""
        return f"{self.first_name()} {self.last_name()}"

    def first_name(self) -> str:
        """A first name."""
        return str(self.fake.first_name())

    def last_name(self) -> str:
        """A last name."""
        return str(self.fake.last_name())

    def company(self) -> str:
        """A company's name."""
        return str(self.fake.company())

    def job(self) -> str:
        """A profession."""
        return str(self.fake.job())

    def street(self) -> str:
        """House number and street."""
        return str(self.fake.street_address())

    def city(self) -> str:
        """A city."""
        return str(self.fake.city())

    def place(self) -> str:
        """City, state and postal code."""
        return f"{self.fake.city()}, {self.fake.state_abbr()} {self.fake.postcode()}"

    def phone(self) -> str:
        """A telephone number."""
        return str(self.fake.numerify("(###) 555-####"))

    def email(self) -> str:
        """An address at an example domain."""
        return str(self.fake.safe_email())

    def code(self) -> str:
        """A reference such as `KX-20417`."""
        return str(self.fake.bothify("??-#####", letters="ABCDEFGHJKLMNPRSTUVWXYZ"))

    def date(self) -> str:
        """A day in one of three notations."""
        day = date(2015, 1, 1) + timedelta(days=self.rng.randrange(3650))
        month = _MONTHS[day.month - 1]
        return self.rng.choice(
            (f"{month} {day.day}, {day.year}", f"{day.day} {month} {day.year}", day.isoformat())
        )

    def short_date(self) -> str:
        """A day in figures."""
        return (date(2015, 1, 1) + timedelta(days=self.rng.randrange(3650))).strftime("%m/%d/%Y")

    def time(self) -> str:
        """A time of day."""
        return f"{self.rng.randint(7, 21):02}:{self.rng.randrange(60):02}"

    def month(self) -> str:
        """The name of a month."""
        return self.rng.choice(_MONTHS)

    def year(self) -> str:
        """A year from 1870 to 2019."""
        return str(self.rng.randint(1870, 2019))

    def money(self) -> str:
        """An amount."""
        return f"${self.rng.uniform(20, 20_000):,.2f}"

    def count(self) -> str:
        """A number from 20 to 90 000."""
        return f"{int(20 * 4500 ** self.rng.random()):,}"

    def small(self) -> str:
        """A number from 2 to 29."""
        return str(self.rng.randint(2, 29))

    def percent(self) -> str:
        """A percentage."""
        return self.rng.choice((f"{self.rng.randint(2, 60)}%", f"{self.rng.uniform(0.5, 30):.1f} percent"))

    def __getitem__(self, slot: str) -> str:
        """The content of a slot of a sentence: what the method of that name draws."""
        return str(getattr(self, slot)())

    def _sentences(self, templates: Sequence[str], number: int) -> str:
        return " ".join(template.format_map(self) for template in self.rng.sample(templates, number))


@cache
def _faker() -> Faker:
    return Faker("en_US")
