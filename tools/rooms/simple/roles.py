# SPDX-License-Identifier: Apache-2.0
"""What the models of the catalogue are used for, by the names of their files.

`Archive/name` is one of several models of that name. Models that are not listed are not used: what
belongs outdoors, duplicates, and what is too small to be seen.
"""

from __future__ import annotations

ROLES: dict[str, str] = {
    'sofa': (
        'couch couch3 sofa2 sofa3 winchesterSofa futon-couch mid-century-sofa simple_sofa '
        'mid-century-bench-sofa clear_sofa beige_sofa beige_sofa_2seats burlap_sofa leather_sofa '
        'sofa_white_beige convertible-sofa-BZ-closed rattanSofa'
    ),
    'corner sofa': 'L_shaped_sofa sofa cornerSofa couch2',
    'armchair': (
        'armchair1 fotel armchair2 modernArmchair mid-century-chair Scopia/armchair armchair3 '
        'winchesterArmchair leaf_chair puff rattanArmchair modern_armchair armChair2 chair-ottoman'
    ),
    'chair': (
        'cafe_set_mota_chair cafe_set_tonon_chair chair3 chair4 ella_chair_f kitchenChair chair '
        'plaidChair antiqueChair chair2 designChair plasticChair sillaBlanca thonet dining-chair '
        'tubular_chair white_kitchen_chair chairWithCushion oakChair osakaChair plastic_chair '
        'BlendSwap-CC-BY/foldingChair cafe-chair silla_teca'
    ),
    'office chair': 'office-chair office_chair kids_desk_chair BlendSwap-CC-0/armchair armChair2',
    'stool': 'green_stool silla2 stool stool2 kitchen_stool bar_chair bar-stool pianoBench',
    'table': (
        'table oakTable cafe_set_mota_table black_table table4 white_kitchen_table round-table '
        'wooden_table_office table-on-trestles table-with-leaning-feet folding-table table3 '
        'tableWithTablecloth glass-dining-table metal_glass_table cafe_set_tonon_table'
    ),
    'coffee table': (
        'coffeeTable coffee-table2 saloon_table table_wood_and_iron living_room_table rattanTable'
    ),
    'desk': (
        'biurko3 officeTable simpleDesk desk lbDesk kids_desk_table wooden_office_alder_table '
        'wooden_office_pear_table wooden_office_pear_table_rect wooden_office_teak_table '
        'kids_wooden_desk desk_table glass_table_office custom-desk table-on-trestles'
    ),
    'bed': (
        'bed1 bed2 bed3 bedWithTexture lettoCloud juniorBed children_bed captains-bed hospital-bed '
        'iron_bed bunkBed crib futon convertible-sofa-BZ-opened'
    ),
    'bedside table': 'bedsideTable bedsideTable2 filing-cabinet',
    'wardrobe': 'wardrobe wardrobe2 wardrobeWithSlidingDoors wardrobe1 cupboard',
    'cabinet': (
        'chest dresserWithDrawers changing-table filing-cabinet office_box sef-kasa box_room '
        'dressing-table lockedLocker'
    ),
    'bookcase': (
        'bookcase full-bookcase dining_room kids_shelves shelves verticalShelves utility-shelving '
        'office_furniture1'
    ),
    'television stand': 'tvStand dresserWithDrawers coffee-table2',
    'television': 'led_tv tv',
    'television unit': 'televisionCabinet contemp_living_room',
    'large plant': ('yuccaPlant plant decorativePlant mediumIndoorPlant spatifilum maceta ficus'),
    'plant': (
        'cactus littlePlant orchids augalas luckyBamboo spider_plant succulentPlant tulip tulips '
        'bonsai-tree BlendSwap-CC-BY/decorativePlant maceta'
    ),
    'table lamp': (
        'lamp livingroom_lamp1 table_lamp little_lamp1 little_lamp2 little_lamp3 desklamp '
        'pedestal-vase-lamp'
    ),
    'desk lamp': 'desk_lamp1 desk_lamp2 desklamp',
    'floor lamp': 'living_lamp',
    'screen': 'laptop apple-ibook-2001 apple_pc apple-imac-1998 apple_pc laptop',
    'on desks': (
        'penbox phone bandeja stapler book kalender newspaper tablet glasses headphones coffee-mug '
        'caffe_final cup frame1 frame2 wirelessOfficePhone3 radio tableFan reflex_camera rubix2 '
        'mp3Station mp3_base_for_ipad clock cissors_swap littlePlant coffee_cup handbag '
        'inkjet_and_scanner_printer plasticCup thermometer book bandeja'
    ),
    'on tables': (
        'cup teapot sugar creamer bowl bowlWithFruits bowlWithSalad apples plate-and-ustensils '
        'ensemble-assiette-couteau-fourchette-cuillere-verre dinner-plate bread-plate glass '
        '12-oz-glass highball-glass wine_bottle red-wine-bottle-01 beer_bottle birthday_cake bread '
        'roasted-chicken hamburger tetrapak candle vase1 vase2 jar pottery old_jar coffee_cup '
        'caffe_final newspaper tulips tulip tray oil-servers bowlWithFruits book chessboard '
        'tv-remote-control beerGlass complements2'
    ),
    'on counters': (
        'kitchenblender boiler coffeeBrewer coffee_machine coffee-maker coffeePress cooker '
        'breadBox choppingBoard kitchenScale kitchenKnifeStandSet largePan microwave tetrapak '
        'kitchenaid oil-servers paperTowelHolder small-oven spiceTower toaster sandwichMaker '
        'squeezer utensilsPot yogurtBottle espressokettle deepFryerWithFrenchFries wine_bottle '
        'apples bread mano_cooktop bowl coffee-mug'
    ),
    'on shelves': (
        'vase1 vase2 vase3 jar frame1 frame2 deer radio book mini_stereo speaker2 folded_clothes '
        'teddyBear carrito-de-madera toyTrain cartoon_biplane doll gift stereo_amplifier dvd clock '
        'playstation4 cactus succulentPlant candle pottery woodToy handbag chapeau'
    ),
    'in bathrooms': (
        'com_bath com_bath2_jabon_pijo com_bath2_soap cosmeticsPot flacon medicoscopia_bottle '
        'medicoscopia_bottle2 medicoscopia_box com_bath3_toalla com_bath2_esponja'
    ),
    'on floors': (
        'backpack suitcase briefcase handbag sneakers slippers mocassin woman_shoes bootie '
        'basketball ballonFoot teddyBear dustbin bullet-trash-can recycling-bin cardboard-box '
        'open-cardboard-box box ammoBox clothes-basket basin caballito doll-house toyTrain '
        'shopping-basket riggedFan speaker3 cat dog rabbit bulldog siameseCat trunk-large crate '
        'step-ladder-wood vase5 vase3 newspaper perceuse-electrique speaker2 gift potty chessboard '
        'green_stool littlePlant maceta casque folded_clothes book'
    ),
    'box': 'cardboard-box open-cardboard-box box crate ammoBox trunk-large barrel suitcase',
    'barrel': 'barrel bullet-trash-can dustbin cone electric_water_heater_big clothes-basket',
    'ladder': 'step-ladder-metal step-ladder-wood',
    'rack': 'utility-shelving clothes-rack verticalShelves shelves',
    'workbench': 'workbench custom-desk technicalTable1 BlendSwap-CC-0/desk',
    'large thing': (
        'piano pianoAQueue indoor-bike treadmill table_football clothes-horse fireplace1 furnace '
        'aquarium electricGuitar whiteBoard water_cooler punching-ball wheelchair poolTable '
        'japanese_style_screen christmas_tree abdominalBench flipper crib babyRockingBed '
        'baby_high_chair doll-house'
    ),
    'workshop thing': (
        'mower wheelbarrow indoor-bike treadmill fitnessTower punching-ball furnace pallet '
        'electric_water_heater_big workbench step-ladder-metal clothes-horse technicalTable2 '
        'recycling-bin wood_logs hose-reel residential-trashcan abdominalBench'
    ),
    'fridge': 'fridge largeFridge refrigerator',
    'stove': 'largeStove',
    'washer': 'clothes_washing_machine dryer_machine washing_machine chest-freezer',
    'lower cabinet': 'lowerCabinet drawersCabinet',
    'sink cabinet': 'sinkCabinet',
    'upper cabinet': 'upperCabinet glassDoorCabinet',
    'white lower cabinet': (
        'kitchenLowerCabinet kitchenSmallLowerCabinet kitchenDrawersCabinet kitchenIsland'
    ),
    'white sink cabinet': 'kitchenSink',
    'white upper cabinet': ('kitchenUpperCabinet kitchenSmallUpperCabinet kitchenGlassDoorCabinet'),
    'toilet': 'toiletsUnit toilets_unit_jay_hardy modernToilet bidet',
    'washbasin': 'washbasin washbasin_jay_hardy modernVanity bathroom_vanity double_vanity',
    'bathtub': 'bath_jay_hardy islandBath corner_bathtub',
    'shower': 'showerStall',
    'towel': 'towel3 com_bath3 towel-rack radiatorAndTowels bathroomRadiator',
    'on walls': (
        'cuckooClock dart_game wall-flat-tv intercom emergencySign wall-hanger modernRadiator '
        'radiator1 wall-flat-tv internal-unity-air-conditioning intercom_with_screen '
        'gaz_water_heater surveillanceCamera wallLight'
    ),
    'clothes': 'clothes-rack hanging-clothes1 hanging-clothes2 suitcase sneakers woman_shoes',
    'standing person': (
        'boyStanding female-01-casual-clothing female01 female02 female03 girlStanding '
        'holdingFemale01 holdingFemale02 holdingFemale03 holdingMale01 male-01-suit male01 male02 '
        'male03 mannequinBrunette mannequinMale'
    ),
    'sitting person': ('boySitting sitFemale03 girlSittingTable sitMale01 sitMale02'),
    'person on the floor': (
        'boyLying lyingDownFemale01 lyingDownMale02 sitFemale01 sitMale03 girlSittingGround'
    ),
    'lying person': 'lyingDownMale01',
}
#: Roles whose colours stay those of the file.
NATURAL = (
    'standing person',
    'sitting person',
    'person on the floor',
    'lying person',
    'large plant',
    'plant',
    'on tables',
)
#: Roles with upholstery.
SOFT = ('sofa', 'corner sofa', 'armchair', 'bed')


def stems(role: str) -> list[str]:
    """Return the file names of a role."""
    return ROLES[role].split()
